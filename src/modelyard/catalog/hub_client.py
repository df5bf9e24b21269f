"""The two calls of the hub's protocol that serving needs: describe a repository, read (part of) one of its files.

Blocking, for threads; one client may be used by several at once. Everything the hub says is checked before it becomes
a path. Uses httpx and not `huggingface_hub`, which fetches a registry for its telemetry before the first request and
throws a partial file away when a download is interrupted (docs/decisions/0004-catalog.md).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from modelyard import __version__
from modelyard.catalog.hub_settings import HubSettings
from modelyard.catalog.readme import FrontMatter
from modelyard.errors import DownloadFailed, ModelRefused
from modelyard.validation import fault_of

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
MAX_CONNECTIONS = 32
BAD_CREDENTIALS = "credentials"
"""Why the hub hands out nothing at all to this server; it says nothing about the model."""
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PART = re.compile(r"[^\x00-\x1f\\/:]+")


class HubUnreachable(Exception):
    """The hub did not answer, or not sensibly. The message is a sentence that any account may read. `detail`: one for
    the operator, with the hub's address; None: there is no more to say. `transient`: asking again may help."""

    def __init__(self, message: str, *, detail: str | None = None, transient: bool = True) -> None:
        super().__init__(message)
        self.detail = detail
        self.transient = transient


class RepositoryMissing(Exception):
    """The hub has no such repository, or none that this token may see."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """`digest`: the SHA-256 of a large file (`large`), else the git blob id (SHA-1). The cache names blobs by it."""

    size: int
    digest: str
    large: bool


@dataclass(frozen=True, slots=True)
class Repository:
    """A model repository at one commit. `parameters`: counts by dtype, when the hub has read the weights' headers.
    `restricted`: private or gated, so that not everybody may read it."""

    model_id: str
    commit: str
    files: Mapping[str, RemoteFile]
    front: FrontMatter
    parameters: Mapping[str, int]
    restricted: bool = False


class _Lfs(msgspec.Struct):
    sha256: str
    size: int


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blobId: str | None = None
    lfs: _Lfs | None = None


class _Safetensors(msgspec.Struct):
    parameters: dict[str, int] = {}


class _Info(msgspec.Struct):
    """The fields used of the answer to GET /api/models/{id}?blobs=true."""

    sha: str
    siblings: list[_Sibling] = []
    pipeline_tag: str | None = None
    library_name: str | None = None
    tags: list[str] = []
    safetensors: _Safetensors | None = None
    private: bool = False
    gated: bool | str = False


class HubClient:
    """One hub, with one token."""

    def __init__(self, settings: HubSettings) -> None:
        self.endpoint = settings.endpoint
        self._token = settings.token
        self._reading: set[socket.socket] = set()

    @property
    def anonymous(self) -> bool:
        """Whether no token is sent, so that private repositories look missing."""
        return self._token is None

    def describe(self, model_id: str, revision: str | None = None) -> Repository:
        """The repository at `revision` (default: its main branch).

        Raises RepositoryMissing, ModelRefused (access denied), HubUnreachable.
        """
        at = f"/revision/{quote(revision, safe='')}" if revision else ""
        with self._request(f"/api/models/{model_id}{at}?blobs=true", model_id) as response:
            try:
                body = response.read()
                info = msgspec.json.decode(body, type=_Info)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                fault = fault_of(error, _Info)
                raise HubUnreachable(f"The hub does not answer like one: {fault}.", detail=self._place) from error
        if not _COMMIT.fullmatch(info.sha):
            raise HubUnreachable(f"The hub names no valid commit for {model_id}.", detail=self._place)
        files = {sibling.rfilename: file for sibling in info.siblings if (file := _remote_file(sibling))}
        license, base_model = (find_tagged(info.tags, name) for name in ("license", "base_model"))
        front = FrontMatter(info.pipeline_tag, license, tuple(info.tags), info.library_name, base_model)
        parameters = info.safetensors.parameters if info.safetensors else {}
        return Repository(model_id, info.sha, files, front, parameters, info.private or bool(info.gated))

    def read(self, repository: Repository, name: str, first: int, last: int) -> bytes:
        """Bytes `first` to `last`, both included, of a file; less at its end. Raises ModelRefused, HubUnreachable."""
        with self.stream(repository, name, first, last) as response:
            data = response.read()
        return data[first : last + 1] if response.status_code == 200 else data

    @contextmanager
    def stream(
        self, repository: Repository, name: str, first: int = 0, last: int | None = None
    ) -> Iterator[httpx.Response]:
        """An open answer with the file's bytes from `first` on: status 206, or 200 when the server ignores ranges.

        Raises ModelRefused, HubUnreachable (also while the body is read).
        """
        path = f"/{repository.model_id}/resolve/{repository.commit}/{quote(name)}"
        headers = {"range": f"bytes={first}-{'' if last is None else last}"} if first or last is not None else {}
        try:
            with self._request(path, repository.model_id, headers) as response:
                yield response
        except RepositoryMissing as error:
            gone = f"{repository.model_id} has gone from the hub meanwhile."
            raise DownloadFailed(gone, detail=self._place) from error

    def close(self) -> None:
        """Closes every connection; threads that read from one fail at once. The client must not be used afterwards."""
        for each in list(self._reading):
            with suppress(OSError):  # it has just been closed
                each.shutdown(socket.SHUT_RDWR)
        if "_http" in self.__dict__:
            self._http.close()

    @cached_property
    def _http(self) -> httpx.Client:
        import httpx  # 0.1 s: only a server that asks the hub pays it

        # Redirects lead to a content network: httpx drops the authorization there, as it must.
        return httpx.Client(
            base_url=self.endpoint,
            follow_redirects=True,
            timeout=httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            limits=httpx.Limits(max_connections=MAX_CONNECTIONS),
            headers={
                "user-agent": f"modelyard/{__version__}",
                "accept-encoding": "identity",  # sizes and ranges are of the file itself
                **({"authorization": f"Bearer {self._token}"} if self._token else {}),
            },
        )

    @contextmanager
    def _request(self, path: str, model_id: str, headers: Mapping[str, str] | None = None) -> Iterator[httpx.Response]:
        import httpx

        try:
            with self._http.stream("GET", path, headers=headers) as response:
                if response.is_error:
                    raise self._failure(response, model_id)
                with self._noted(response):
                    yield response
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            detail = f"The hub is {self.endpoint}: {error or type(error).__name__}."
            raise HubUnreachable("The hub cannot be reached.", detail=detail) from error

    @contextmanager
    def _noted(self, response: httpx.Response) -> Iterator[None]:
        """Remembers the answer's socket while it is read: a hub that falls silent must not keep a server that ends."""
        read_from = response.extensions["network_stream"].get_extra_info("socket")
        self._reading.add(read_from)
        try:
            yield
        finally:
            self._reading.discard(read_from)

    def _failure(self, response: httpx.Response, model_id: str) -> Exception:
        """What a refusing answer means. Source: `hf_raise_for_status` in huggingface_hub."""
        code, status = response.headers.get("x-error-code"), response.status_code
        if code == "GatedRepo":
            then = "set HF_TOKEN to a token of that account" if self.anonymous else "use its account's HF_TOKEN"
            return ModelRefused(
                f"{model_id} is gated on the hub: whoever runs this server has to accept its terms there.",
                detail=f"Do so at {self.endpoint}/{model_id}, then {then} and start again.",
            )
        if code == "RepoNotFound" or (status == 401 and self.anonymous):
            return RepositoryMissing(model_id)
        if code == "RevisionNotFound":
            return DownloadFailed(f"{model_id} has no such revision on the hub.", detail=self._place)
        if status in {401, 403}:
            reason = response.headers.get("x-error-message", "access denied")
            remedy = "Set HF_TOKEN to a token that may read it" if self.anonymous else "Check HF_TOKEN"
            return ModelRefused(
                f"The hub does not hand out {model_id} to this server.",
                detail=f"{self.endpoint} says: {reason}. {remedy}.",
                cause=BAD_CREDENTIALS if status == 401 else None,
            )
        if status == 404 and code is None:
            return RepositoryMissing(model_id)
        return HubUnreachable(
            f"The hub answers {status} for {model_id}.", detail=self._place, transient=status in TRANSIENT_STATUSES
        )

    @property
    def _place(self) -> str:
        """Which hub it is, as only the operator is told: a mirror may be a host that nobody else knows of."""
        return f"The hub is {self.endpoint}."


def _remote_file(sibling: _Sibling) -> RemoteFile | None:
    """None for what must not become a path here, or cannot be checked after its download."""
    parts = sibling.rfilename.split("/")
    if any(part in {".", ".."} or not _PART.fullmatch(part) for part in parts):
        return None
    if sibling.lfs is not None:
        return RemoteFile(sibling.lfs.size, sibling.lfs.sha256, True) if _SHA256.fullmatch(sibling.lfs.sha256) else None
    if sibling.size is None or not _SHA1.fullmatch(sibling.blobId or ""):
        return None
    return RemoteFile(sibling.size, sibling.blobId or "", False)


def find_tagged(tags: Iterable[str], name: str) -> str | None:
    """What the first tag of that name says, as `mit` in `license:mit`."""
    return next((tag.removeprefix(f"{name}:") for tag in tags if tag.startswith(f"{name}:")), None)
