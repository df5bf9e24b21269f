"""The hub's files on this machine, in the layout that all of the hub's tools share, so that they share the files too:

    models--org--name/refs/main                  the commit that the branch was at when last seen
    models--org--name/snapshots/<commit>/<file>  a link to ../../blobs/<digest>
    models--org--name/blobs/<digest>             the content, put there only when whole and checked
    models--org--name/blobs/<digest>.incomplete  our partial download, resumed by the next one
    .locks/models--org--name/<digest>.lock       held while a process fills that blob
    models--org--name/.modelyard                 ours: the mark of a download by a server, see `write_mark`

Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event

from modelyard.catalog.hub_client import Repository
from modelyard.catalog.names import is_model_id
from modelyard.records.files import repository_of

_COMMIT = re.compile(r"[0-9a-f]{40}")
_LOCK_RETRY_S = 0.1
_MARK = ".modelyard"


class Stopped(Exception):
    """Nobody waits for this download any more."""


class HubCache:
    """The cache under one directory. Safe for several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def model_ids(self) -> Iterator[str]:
        """The models of which something is cached, in no order."""
        try:
            names = os.listdir(self.root)
        except OSError:
            return
        for name in names:
            model_id = name.removeprefix("models--").replace("--", "/", 1)
            if name.startswith("models--") and is_model_id(model_id):
                yield model_id

    def snapshot(self, model_id: str, revision: str | None = None) -> Path | None:
        """The folder of that commit or branch (default: main), if any of its files are here."""
        commit = revision or "main"
        if not _COMMIT.fullmatch(commit):
            try:
                commit = (self.folder(model_id) / "refs" / commit).read_text("utf-8").strip()
            except OSError:
                return None
        path = self.snapshot_path(model_id, commit)
        return path if path.is_dir() else None

    def snapshot_path(self, model_id: str, commit: str) -> Path:
        """Where that commit's files are or will be."""
        return self.folder(model_id) / "snapshots" / commit

    def file(self, repository: Repository, name: str) -> Path | None:
        """The file's path if it is here whole."""
        path = self.snapshot_path(repository.model_id, repository.commit) / name
        return path if path.exists() else None

    def blob(self, repository: Repository, name: str) -> Path:
        """Where the file's content is or will be."""
        return self.folder(repository.model_id) / "blobs" / repository.files[name].digest

    def partial(self, repository: Repository, name: str) -> Path:
        """Where the file's content grows while it is being downloaded."""
        return self.blob(repository, name).with_name(f"{repository.files[name].digest}.incomplete")

    def partial_bytes(self, repository: Repository, name: str) -> int:
        """How much of the file has come, whole blobs of other snapshots included."""
        for path in (self.blob(repository, name), self.partial(repository, name)):
            with suppress(OSError):
                return min(path.stat().st_size, repository.files[name].size)
        return 0

    def link(self, repository: Repository, name: str) -> Path:
        """Shows the file's blob in the snapshot. Idempotent."""
        path = self.snapshot_path(repository.model_id, repository.commit) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        target = os.path.relpath(self.blob(repository, name), path.parent)
        staged = path.with_name(f".{uuid.uuid4().hex}.link")  # renamed in place: no moment without a link
        staged.symlink_to(target)
        staged.replace(path)
        return path

    def remember_main(self, repository: Repository) -> None:
        """Records that main is at the repository's commit, for the time when the hub cannot be asked."""
        path = self.folder(repository.model_id) / "refs" / "main"
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f"main.{uuid.uuid4().hex}")
        staged.write_text(repository.commit, "utf-8")
        staged.replace(path)

    def free_bytes(self) -> int:
        """Free space where the cache is or will be."""
        folder = self.root
        while not folder.exists():
            folder = folder.parent
        return shutil.disk_usage(folder).free

    def size_bytes(self, model_id: str) -> int:
        """What a model's files take up, those of downloads that are not complete included."""
        total_bytes = 0
        for path in (self.folder(model_id) / "blobs").glob("*"):
            with suppress(FileNotFoundError):  # renamed meanwhile, once it was complete
                total_bytes += path.lstat().st_size
        return total_bytes

    def read_mark(self, model_id: str) -> str | None:
        """What `write_mark` has put beside the files that lie there now."""
        try:
            return (self.folder(model_id) / _MARK).read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def write_mark(self, model_id: str, mark: str) -> None:
        """Puts a word beside a model's files that goes when they go, whoever removes them. Raises OSError."""
        path = self.folder(model_id) / _MARK
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(mark, "utf-8")

    def is_being_filled(self, model_id: str) -> bool:
        """Whether any process, the hub's own tools included, is downloading a file of the model."""
        from filelock import FileLock, Timeout

        for path in (self.root / ".locks" / self.folder(model_id).name).glob("*.lock"):
            lock = FileLock(path, mode=0o664)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                return True
            lock.release()
        return False

    def remove(self, model_id: str) -> None:
        """Removes a model's files. Idempotent. Raises OSError.

        What finds files goes before the files: whoever looks meanwhile, or after this process was killed, finds a model
        that is whole or none.
        """
        folder = self.folder(model_id)
        snapshots = folder / "snapshots"
        shutil.rmtree(folder / "refs", ignore_errors=True)
        for snapshot in snapshots.glob("*"):
            gone = folder / f".{uuid.uuid4().hex}"
            snapshot.rename(gone)
            shutil.rmtree(gone)
        shutil.rmtree(folder / "blobs", ignore_errors=True)
        for path in [each for each in folder.glob("*") if each != snapshots]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if folder.is_dir():
            shutil.rmtree(folder)

    @contextmanager
    def lock(self, repository: Repository, name: str, stop: Event) -> Iterator[None]:
        """Held by one thread of one process at a time, the hub's own tools included. Raises Stopped."""
        from filelock import FileLock, Timeout

        path = self.root / ".locks" / self.folder(repository.model_id).name / f"{repository.files[name].digest}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, mode=0o664)
        while True:
            if stop.is_set():
                raise Stopped
            with suppress(Timeout):
                lock.acquire(timeout=_LOCK_RETRY_S)
                break
        try:
            yield
        finally:
            lock.release()

    def folder(self, model_id: str) -> Path:
        """Where everything of a model's repository is or will be."""
        return self.root / f"models--{repository_of(model_id).replace('/', '--')}"
