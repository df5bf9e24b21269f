"""What has been made of models outside the hub's cache, and for whom: a part of what accounts may have on the disk.

Reads directories and small files, blocking; decides nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from modelyard.catalog.folders import Folders

RoomFor = Callable[[str, int, str], AbstractAsyncContextManager[None]]
"""Keeps room for what is to be made, (what, bytes, account), while a block runs. Raises QuotaExceeded, Unavailable."""
ACCOUNT_FILE = ".account"
"""In a folder that was made: the id of the account for which."""


@dataclass(frozen=True, slots=True)
class MadeFiles:
    """Files made of a model, or one of its variants. `account_id`: for whom. `removable`: they are made again when they
    are needed, so that they may go while nobody uses the model."""

    model_id: str
    account_id: str
    path: Path
    size_bytes: int
    removable: bool = False


@asynccontextmanager
async def no_quota(_what: str, _needed_bytes: int, _account_id: str) -> AsyncIterator[None]:
    """As much room as the disk has."""
    yield


def write_account(folder: Path, account_id: str) -> None:
    """Notes for whom a folder has been made. Raises OSError."""
    (folder / ACCOUNT_FILE).write_text(account_id, encoding="utf-8")


def list_conversions(folder: Path) -> Iterator[MadeFiles]:
    """Those in the folder of conversions of which it is known for whom they were made."""
    for note in folder.glob(f"*/*/*/{ACCOUNT_FILE}"):
        try:
            account_id = note.read_text(encoding="utf-8")
        except OSError:  # it is being removed
            continue
        made = note.parent
        yield MadeFiles(f"{made.parts[-3]}/{made.parts[-2]}", account_id, made, size_of(made), removable=True)


def list_variants(folder: Path, account_of: Callable[[str], str]) -> Iterator[MadeFiles]:
    """Those in the folder of variants. `account_of`: for whom one was made, by its id."""
    for variant_id in Folders([folder]).ids() if folder.is_dir() else ():
        path = folder / variant_id
        yield MadeFiles(variant_id, account_of(variant_id), path, size_of(path))


def size_of(folder: Path) -> int:
    """What the files in a folder take."""
    return sum(each.lstat().st_size for each in folder.rglob("*"))
