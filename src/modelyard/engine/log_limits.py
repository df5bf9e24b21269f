"""Holds the logs of replicas to their sizes and age, also those that are being written to.

A worker holds a lock on its log for as long as it, or anything it has started, has it open (`worker/processes.py`).
Such a log is cut, its end kept in a file beside it; one that nobody writes to any more is removed when it is old, or
the oldest when all are too large together.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.engine.logs import earlier
from modelyard.private_files import ensure_private_file

log = logging.getLogger(__name__)

LOOK_EVERY_S = 10.0
COPY_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class LogLimits:
    """`file_bytes`: of one replica's log, at a look; half as much is kept of what it was cut by. `total_bytes`: of all
    together. `age_s`: since the last line of one whose replica has ended."""

    file_bytes: int
    total_bytes: int
    age_s: float


@dataclass(frozen=True, slots=True)
class LogFile:
    """One replica's log, with what was cut from it."""

    path: Path
    size: int
    written_at: float


async def keep_to_limits(folder: Path, limits: LogLimits, now: Callable[[], float]) -> None:
    """Looks every few seconds, until cancelled."""
    while True:
        try:
            await asyncio.to_thread(apply_limits, folder, limits, now())
        except OSError:
            log.exception("logs could not be held to their sizes")
        await asyncio.sleep(LOOK_EVERY_S)


def apply_limits(folder: Path, limits: LogLimits, now: float) -> None:
    """Cuts and removes what is beyond the limits. `now`: as the files' own times count."""
    for found in list_logs(folder):
        if found.path.stat().st_size > limits.file_bytes:
            cut(found.path, limits.file_bytes // 2)
    logs = sorted(list_logs(folder), key=lambda each: each.written_at)
    total = sum(each.size for each in logs)
    for each in logs:
        if (total > limits.total_bytes or now - each.written_at > limits.age_s) and remove_unused(each.path):
            total -= each.size
    if total > limits.total_bytes:  # all that is left is being written to
        for each in logs:
            earlier(each.path).unlink(missing_ok=True)


def list_logs(folder: Path) -> Sequence[LogFile]:
    """Every log below a folder."""
    return list(_list_logs(folder))


def _list_logs(folder: Path) -> Iterator[LogFile]:
    for path in folder.glob("*/*/*.log"):
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        before = earlier(path)
        yield LogFile(path, found.st_size + (before.lstat().st_size if before.exists() else 0), found.st_mtime)


def cut(path: Path, keep_bytes: int) -> None:
    """Moves the last `keep_bytes` of a log to the file beside it, and empties it. Whoever writes to it goes on at its
    new end, since logs are opened for appending."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    ensure_private_file(fresh)
    with path.open("r+b") as source, fresh.open("wb") as target:
        source.seek(max(0, source.seek(0, os.SEEK_END) - keep_bytes))
        while data := source.read(COPY_BYTES):
            target.write(data)
            if target.tell() > 2 * keep_bytes:  # it is written to faster than it is read
                break
        source.truncate(0)
    fresh.replace(earlier(path))


def remove_unused(path: Path) -> bool:
    """Removes a log unless somebody has it open to write to; whether it did."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        path.unlink()
        earlier(path).unlink(missing_ok=True)
        return True
