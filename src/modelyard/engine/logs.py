"""The outputs of the replicas on this machine: a file each, in folders. Reads them; the workers write them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from modelyard.engine.base import ReplicaLog

SHOWN_BYTES = 64 * 1024
"""Of each replica's output, the end."""
LAST_LINES_BYTES = 4096


def read_logs(folder: Path, count: int) -> Sequence[ReplicaLog]:
    """The ends of the newest `count` log files in a folder, newest first: their names begin with the time."""
    files = sorted(folder.glob("*.log"), reverse=True)[:count] if folder.is_dir() else []
    return [ReplicaLog(path.stem, read_end(path, SHOWN_BYTES)) for path in files]


def last_lines(path: str | None, count: int) -> list[str]:
    """The last lines of a worker's log, `count` at most; none where there is no log."""
    if path is None or not Path(path).exists():
        return []
    return read_end(Path(path), LAST_LINES_BYTES).strip().splitlines()[-count:]


def earlier(path: Path) -> Path:
    """Where the end of what was cut from a log is kept."""
    return path.with_suffix(".log.1")


def read_end(path: Path, count: int) -> str:
    """The last `count` bytes of a log, as text."""
    end = read_bytes(path, count)
    if len(end) < count and (before := earlier(path)).exists():
        end = read_bytes(before, count - len(end)) + end
    return end.decode(errors="replace")


def read_bytes(path: Path, count: int) -> bytes:
    """The last `count` bytes of a file."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - count))
        return file.read(count)
