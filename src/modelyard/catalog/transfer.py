"""One file's way from the hub into the cache: resumed where it broke off, checked against its digest, put in place
whole or not at all. Blocking; stops within one network read of being told to."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

from modelyard.catalog.hub_cache import HubCache, Stopped
from modelyard.catalog.hub_client import HubClient, HubUnreachable, RemoteFile, Repository
from modelyard.errors import DownloadFailed

READ_BYTES = 1024 * 1024
MAX_PLAIN_BYTES = 50 * 10**9
"""Larger files the hub serves only through its Xet protocol, which needs its own tools."""


@dataclass(frozen=True, slots=True)
class Patience:
    """`attempts` in a row that bring not one new byte end a download; they are `wait_s`, 2 `wait_s`, ... apart."""

    attempts: int = 5
    wait_s: float = 1.0
    max_wait_s: float = 16.0

    def delay_s(self, failures: int) -> float:
        """How long to wait after that many failures in a row."""
        return min(self.max_wait_s, self.wait_s * 2.0 ** (failures - 1))


class Transfer:
    """Downloads into one cache from one hub. `stop` ends it early; `count` is told how many bytes came (or, negative,
    had to be thrown away)."""

    def __init__(
        self,
        client: HubClient,
        cache: HubCache,
        stop: Event,
        count: Callable[[int], None] = lambda n: None,
        patience: Patience | None = None,
    ) -> None:
        self._client = client
        self._cache = cache
        self._stop = stop
        self._count = count
        self._patience = patience or Patience()

    def ensure(self, repository: Repository, name: str) -> Path:
        """The file in the repository's snapshot; at once when it is there. Raises DownloadFailed, Stopped."""
        here = self._cache.file(repository, name)
        if here is not None:
            return here
        try:
            blob = self._cache.blob(repository, name)
            blob.parent.mkdir(parents=True, exist_ok=True)
            with self._cache.lock(repository, name, self._stop):
                if not blob.exists():
                    self._download(repository, name, self._cache.partial(repository, name))
                    self._cache.partial(repository, name).replace(blob)
                return self._cache.link(repository, name)
        except OSError as error:
            raise self._disk_failure(repository, name, error) from error

    def _download(self, repository: Repository, name: str, partial: Path) -> None:
        """Fills `partial` until it is the whole file."""
        if repository.files[name].size > MAX_PLAIN_BYTES:
            raise DownloadFailed(
                f"{name} of {repository.model_id} is too large for a plain download; "
                f"fetch it with `hf download {repository.model_id}`, Modelyard then finds it."
            )
        failures = 0
        with partial.open("ab+") as file:
            while True:
                before = file.seek(0, os.SEEK_END)
                try:
                    return self._continue(repository, name, file)
                except HubUnreachable as error:
                    failures = 1 if file.seek(0, os.SEEK_END) > before else failures + 1
                    if failures >= self._patience.attempts or not error.transient:
                        raise DownloadFailed(
                            f"{name} of {repository.model_id} broke off {failures} times without progress, at "
                            f"{file.tell():,} of {repository.files[name].size:,} bytes: {error} "
                            "What has come is kept; asking again goes on from there.",
                            detail=error.detail,
                        ) from error
                if self._stop.wait(self._patience.delay_s(failures)):
                    raise Stopped

    def _continue(self, repository: Repository, name: str, file: BinaryIO) -> None:
        """One attempt: asks for what is missing, appends it, and checks the whole."""
        expected = repository.files[name]
        digest = _new_digest(expected)
        offset = self._digest_so_far(file, digest, expected.size)
        if offset < expected.size:
            with self._client.stream(repository, name, first=offset) as response:
                if offset and response.status_code != 206:  # the server ignores ranges: all over again
                    self._discard(file)
                    digest, offset = _new_digest(expected), 0
                for chunk in response.iter_bytes():  # as it arrives: a cut connection loses nothing
                    if self._stop.is_set():
                        raise Stopped
                    file.write(chunk)
                    digest.update(chunk)
                    offset += len(chunk)
                    self._count(len(chunk))
        file.flush()
        if offset < expected.size:
            raise HubUnreachable(f"the connection ended at {offset:,} of {expected.size:,} bytes.")
        if offset > expected.size or digest.hexdigest() != expected.digest:
            self._discard(file)
            raise HubUnreachable(f"{name} is not what the hub announced (checksum differs).")
        os.fsync(file.fileno())  # the rename must not outlive the content in a power cut

    def _digest_so_far(self, file: BinaryIO, digest: Any, limit: int) -> int:
        """Reads what an earlier attempt left into `digest`; its length."""
        if file.seek(0, os.SEEK_END) > limit:
            self._discard(file)
        here = file.seek(0, os.SEEK_END)
        file.seek(0)
        while (left := here - file.tell()) and (chunk := file.read(min(left, READ_BYTES))):
            digest.update(chunk)
        return here

    def _discard(self, file: BinaryIO) -> None:
        self._count(-file.seek(0, os.SEEK_END))
        file.truncate(0)

    def _disk_failure(self, repository: Repository, name: str, error: OSError) -> DownloadFailed:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            size, free = repository.files[name].size, self._cache.free_bytes()
            return DownloadFailed(
                f"The disk is full: {name} of {repository.model_id} needs {size:,} bytes.",
                detail=f"{free:,} are free in {self._cache.root}. Make room, or set HF_HOME to a larger disk.",
            )
        return DownloadFailed(
            f"{name} of {repository.model_id} cannot be stored on this server.",
            detail=f"In {self._cache.root}: {error}.",
        )


def _new_digest(file: RemoteFile) -> Any:
    """The digest that names the blob: SHA-256 of large files, git's own of the others."""
    if file.large:
        return hashlib.sha256()
    return hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
