"""The folder that holds a server's sockets, and the removal of those that killed servers left behind."""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
import tempfile
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "modelyard-sockets-"
"""Of the folders with this prefix, only those that hold MARKER are ours to remove."""
MARKER = ".modelyard-run-folder"
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
"""Opens a folder, and nothing that leads to one."""
DEEPEST = 10_000
"""Folders in each other that are removed. More stay: whoever makes them might go on for ever."""
MAX_FOLDER_BYTES = 80
"""A Unix socket's path has room for about 100 bytes, 92 on some systems. Source: unix(7)."""


class RunDir:
    """A folder of this user's alone, removed by `close`, or by the next server when this one is killed.

    It is locked for as long as it is in use: the kernel drops the lock of a process that dies.
    """

    def __init__(self, parent: Path | None = None) -> None:
        """`parent`: by default the user's runtime folder, else the one for temporary files."""
        parent = parent or short_parent()
        remove_abandoned(parent)
        # Marked and locked before it has a name by which another server would take it for abandoned.
        new = Path(tempfile.mkdtemp(prefix=f".{PREFIX}", dir=parent))
        self._lock = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        (new / MARKER).touch()
        self.path = new.rename(parent / new.name.removeprefix("."))

    def close(self) -> None:
        """Removes the folder. Idempotent."""
        if self._lock >= 0:
            remove_tree(self.path)
            os.close(self._lock)
            self._lock = -1


def remove_tree(folder: Path) -> None:
    """Removes a folder with all a worker has left there: deeper, maybe, than Python's own recursion goes, or than a
    path is long. Follows no link, whoever puts one there meanwhile. What cannot be removed stays."""
    with suppress(OSError):
        os.rmdir(folder)  # most have left nothing
        return
    with suppress(OSError):
        top = os.open(folder, FOLDER)
        try:
            empty(top)
        finally:
            os.close(top)
        os.rmdir(folder)


def empty(top: int) -> None:
    """Removes what is in an open folder: the folders in those that it holds are moved up into it, before these are
    removed, so that none is ever opened deeper than that."""
    names = (f"{PREFIX}{number}" for number in itertools.count())
    left: Collection[str] = set()
    for _ in range(DEEPEST):
        folders = remove_files(top)
        if folders == left:  # there are none, or they cannot be removed
            return
        left = folders
        for folder in folders:
            with suppress(OSError):
                inner = os.open(folder, FOLDER, dir_fd=top)
                try:
                    for each in remove_files(inner):
                        os.rename(each, next(names), src_dir_fd=inner, dst_dir_fd=top)
                finally:
                    os.close(inner)
                os.rmdir(folder, dir_fd=top)


def remove_files(folder: int) -> Collection[str]:
    """Removes all in an open folder that are no folders; the names of those that are."""
    folders = set()
    with os.scandir(folder) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                folders.add(entry.name)
                continue
            with suppress(OSError):
                os.unlink(entry.name, dir_fd=folder)
    return folders


def short_parent() -> Path:
    """Where run folders go: the first place whose name leaves room for a socket's."""
    places = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]  # noqa: S108 - mkdtemp does the rest
    fitting = [place for place in places if place and os.path.isdir(place) and len(place) < MAX_FOLDER_BYTES]
    return Path(fitting[0] if fitting else tempfile.gettempdir())


def remove_abandoned(parent: Path) -> None:
    """Removes this user's run folders that no living process has locked."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, FOLDER)
        except OSError:  # not a folder, another user's, or gone by now
            continue
        try:
            if os.fstat(lock).st_uid == os.geteuid() and (folder / MARKER).is_file():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(folder)
                log.info("removed %s, left behind by a server that was killed", folder)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
