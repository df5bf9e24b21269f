"""What the kernel keeps no limit of for a confined worker, looked at now and then: its threads where it shares its user
with others, and all its files together. Decides nothing but whether it is too much."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from modelyard.units import GIB
from modelyard.worker.memory import count_threads
from modelyard.worker.sandbox.confinement import limit_threads

MOST_FILES = 10_000
"""A model's own code and what libraries keep of it are some hundred files."""
MOST_FILE_BYTES = 4 * GIB
"""As much as one file alone may have."""


def find_excess(pid: int, scratch: Path, most_threads: int | None = None) -> str | None:
    """What the process has too much of, in a few words. May take a moment: it walks the folder."""
    most = most_threads or limit_threads()
    if (threads := count_threads(pid)) > most:
        return f"it had {threads} threads, and a worker may have {most}"
    size = 0
    try:
        for count, each in enumerate(sizes_below(str(scratch)), 1):
            size += each
            if count > MOST_FILES:
                return f"it kept more than {MOST_FILES} files"
            if size > MOST_FILE_BYTES:
                return f"its files took more than {MOST_FILE_BYTES // GIB} GB together"
    except OSError as error:
        return f"it kept files that cannot be looked at: {error.strerror}"
    return None


def sizes_below(folder: str) -> Iterator[int]:
    """What each file and folder below a folder takes of the disk, in no order; nothing of one that is gone.

    Raises OSError for folders that are closed to their owner, or too deep.
    """
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    yield entry.stat(follow_symlinks=False).st_blocks * 512
        except (FileNotFoundError, NotADirectoryError):  # it has just been removed, or was never made
            continue
