"""The folder that holds a server's sockets, and the removal of those that killed servers left behind."""

from __future__ import annotations

import fcntl
import logging
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)

PREFIX = "modelyard-sockets-"
"""Of the folders with this prefix, only those that hold MARKER are ours to remove."""
MARKER = ".modelyard-run-folder"
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
    """Removes a folder with all a worker has left there: deeper, maybe, than Python's own recursion goes."""
    with suppress(OSError):
        os.rmdir(folder)  # most have left nothing
        return
    subprocess.run(["rm", "-rf", "--", str(folder)], check=False, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def short_parent() -> Path:
    """Where run folders go: the first place whose name leaves room for a socket's."""
    places = [os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"]  # noqa: S108 - mkdtemp does the rest
    fitting = [place for place in places if place and os.path.isdir(place) and len(place) < MAX_FOLDER_BYTES]
    return Path(fitting[0] if fitting else tempfile.gettempdir())


def remove_abandoned(parent: Path) -> None:
    """Removes this user's run folders that no living process has locked."""
    for folder in parent.glob(f"{PREFIX}*"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
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
