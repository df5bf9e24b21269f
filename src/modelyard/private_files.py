"""Files and folders that only their owner may read, whatever the umask. Owns their modes, not what is in them.

Folders are 0700, files 0600. What is below the data folder is closed to others by the folder itself; the modes of
files keep it so when the folder is copied or opened by hand.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from modelyard.errors import Unavailable

log = logging.getLogger(__name__)

FOLDER_MODE = 0o700
FILE_MODE = 0o600
OTHERS = 0o077
"""The bits of a mode that say what others than the owner may do."""


def ensure_private_folder(path: Path) -> None:
    """Makes the folder, and those above it that are missing, for this user alone. One that is there stays as it is."""
    if path.is_dir():
        return
    ensure_private_folder(path.parent)
    path.mkdir(mode=FOLDER_MODE, exist_ok=True)


def create_private_file(path: Path, text: str) -> None:
    """Writes a new file, for this user alone; leaves none that it could not write. Raises FileExistsError, and OSError
    that names the file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error


def ensure_private_file(path: Path) -> None:
    """Makes an empty file for this user alone. One that is there stays as it is."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, FILE_MODE))


def ensure_data_folder(path: Path, trees: Collection[str]) -> None:
    """Makes the data folder, or mends the modes of one that others may read: its own, those of the files in it, and
    of all below its folders `trees`. Says what it mended.

    Raises Unavailable when the folder cannot be made or written to.
    """
    try:
        ensure_private_folder(path)
        mended = close_to_others(path, trees)
    except OSError as error:
        raise Unavailable(f"The data folder {path} cannot be made: {error.strerror}.", cause="data folder") from error
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise Unavailable(f"The data folder {path} cannot be written to.", cause="data folder")
    if mended:
        log.warning(
            "others could read %s; now only this user can: %d files and folders were closed to others",
            path,
            len(mended),
        )


def close_to_others(path: Path, trees: Collection[str]) -> Sequence[Path]:
    """Takes from others all rights to a data folder, see `ensure_data_folder`; what it had to change."""
    found = [path, *path.iterdir()]
    for name in trees:
        found.extend(walk(path / name))
    return [each for each in found if is_open_to_others(each, path) and chmod(each)]


def walk(folder: Path) -> Iterator[Path]:
    """All that is below a folder; follows no link."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent, name)


def is_open_to_others(path: Path, data_folder: Path) -> bool:
    """Whether anybody else has a right to it. A link has none of its own, except for the data folder's."""
    try:
        mode = os.stat(path, follow_symlinks=path == data_folder).st_mode
    except FileNotFoundError:  # it has gone meanwhile
        return False
    return not stat.S_ISLNK(mode) and bool(mode & OTHERS)


def chmod(path: Path) -> bool:
    """Takes the rights of others away; whether that could be done."""
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
    except OSError as error:
        log.warning("others may read %s, and that cannot be changed: %s", path, error.strerror)
        return False
    return True
