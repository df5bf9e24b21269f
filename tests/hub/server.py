"""The hub's HTTP protocol over repositories held in memory, with faults on request.

Speaks to `huggingface_hub` as well as to our own client, so that tests can hold one against the other. Sources: the
requests that huggingface_hub 2.4 makes, and https://huggingface.co/docs/hub/api.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

LARGE = (".safetensors", ".bin", ".gguf", ".onnx", ".h5", ".msgpack", ".pt")
PIECE_BYTES = 64 * 1024
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class Repo:
    """One model repository. `api` is merged into the answer of the models API: pipeline_tag, tags, safetensors, ..."""

    files: dict[str, bytes]
    api: dict[str, Any] = field(default_factory=dict)
    gated: bool = False
    private: bool = False

    @property
    def commit(self) -> str:
        """Changes with the content."""
        digest = hashlib.sha1(usedforsecurity=False)
        for name in sorted(self.files):
            digest.update(name.encode() + b"\0" + self.files[name])
        return digest.hexdigest()

    def digest(self, name: str) -> str:
        content = self.files[name]
        if name.endswith(LARGE):
            return hashlib.sha256(content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Seen:
    """One request as it came in. `host` tells the hub from its content network."""

    method: str
    path: str
    host: str
    range: str | None
    authorization: str | None
    user_agent: str | None


@dataclass
class Faults:
    """What goes wrong; may be changed while the server runs."""

    status: int | None = None
    """Every request is answered with this."""
    cut_at: dict[str, list[int]] = field(default_factory=dict)
    """File name → after how many bytes of the answer the connection breaks, for one request after the other."""
    ignore_ranges: bool = False
    bytes_per_s: dict[str, int] = field(default_factory=dict)
    """File name → how fast it is sent."""
    corrupt: set[str] = field(default_factory=set)
    """Files whose content is served with its last byte changed."""
    garbage: bool = False
    """The API answers with a page, as a captive portal does."""


class HubServer:
    """`url` is what HF_ENDPOINT would be. `tokens` may read private and gated repositories."""

    def __init__(self) -> None:
        self.repos: dict[str, Repo] = {}
        self.faults = Faults()
        self.requests: list[Seen] = []
        self.left: list[str] = []
        """Names of files whose client left before it had all of them."""
        self.tokens = {"hf_good"}
        self.url = ""
        self._port = 0
        self._gates: dict[str, tuple[int, threading.Event, threading.Event]] = {}

    def reset(self) -> None:
        """As newly started, but for the address."""
        self.release_all()
        self.repos, self.requests, self.left, self.faults = {}, [], [], Faults()

    def hold(self, name: str, at: int) -> tuple[threading.Event, threading.Event]:
        """Answers with this file pause after `at` bytes. Returns (set when one has come there, set it to go on)."""
        reached, release = threading.Event(), threading.Event()
        self._gates[name] = (at, reached, release)
        return reached, release

    def release_all(self) -> None:
        for _, _, release in self._gates.values():
            release.set()
        self._gates.clear()

    def count(self, pattern: str, method: str = "GET") -> int:
        """How many requests had a path like this."""
        return sum(1 for seen in self.requests if seen.method == method and re.search(pattern, seen.path))

    def ranges(self, pattern: str) -> list[str | None]:
        return [seen.range for seen in self.requests if seen.method == "GET" and re.search(pattern, seen.path)]

    @contextmanager
    def running(self) -> Iterator[HubServer]:
        app = Starlette(
            routes=[
                Route("/api/models/{org}/{name}", self._info),
                Route("/api/models/{org}/{name}/revision/{revision}", self._info),
                Route("/api/models/{org}/{name}/tree/{revision}", self._tree),
                Route("/cdn/{org}/{name}/{path:path}", self._content),
                Route("/{org}/{name}/resolve/{revision}/{path:path}", self._resolve),
            ]
        )
        listener = socket.create_server(("127.0.0.1", 0))
        self._port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1, ws="none")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="hub", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.release_all()
            server.should_exit = True
            thread.join()
            listener.close()

    async def _info(self, request: Request) -> Response:
        repo, refusal = self._admit(request)
        if repo is None:
            return refusal
        if self.faults.garbage:
            return Response("<html>Please log in to the network</html>", media_type="text/html")
        if request.path_params.get("revision", "main") not in {"main", repo.commit}:
            return _refuse(404, "RevisionNotFound")
        model_id = _model_id(request)
        siblings = [self._sibling(repo, name) for name in sorted(repo.files)]
        base = {"id": model_id, "modelId": model_id, "sha": repo.commit, "private": repo.private, "tags": []}
        return JSONResponse({**base, "gated": "manual" if repo.gated else False, "siblings": siblings, **repo.api})

    def _sibling(self, repo: Repo, name: str) -> dict[str, Any]:
        size = len(repo.files[name])
        if not name.endswith(LARGE):
            return {"rfilename": name, "size": size, "blobId": repo.digest(name)}
        pointer = hashlib.sha1(name.encode()).hexdigest()
        lfs = {"sha256": repo.digest(name), "size": size, "pointerSize": 134}
        return {"rfilename": name, "size": size, "blobId": pointer, "lfs": lfs}

    async def _tree(self, request: Request) -> Response:
        repo, refusal = self._admit(request)
        if repo is None:
            return refusal
        entries = []
        for name in sorted(repo.files):
            sibling = self._sibling(repo, name)
            entry = {"type": "file", "path": name, "size": sibling["size"], "oid": sibling["blobId"]}
            if "lfs" in sibling:
                entry["lfs"] = {"oid": sibling["lfs"]["sha256"], "size": sibling["size"], "pointerSize": 134}
            entries.append(entry)
        return JSONResponse(entries)

    async def _resolve(self, request: Request) -> Response:
        repo, refusal = self._admit(request)
        if repo is None:
            return refusal
        if repo.gated and not self._authorized(request):
            return _refuse(403 if request.headers.get("authorization") else 401, "GatedRepo")
        name = request.path_params["path"]
        if name not in repo.files:
            return _refuse(404, "EntryNotFound")
        headers = {"x-repo-commit": repo.commit, "etag": f'"{repo.digest(name)}"', "accept-ranges": "bytes"}
        if name.endswith(LARGE):  # large files lie on a content network of another origin
            headers["x-linked-etag"] = headers["etag"]
            headers["x-linked-size"] = str(len(repo.files[name]))
            return RedirectResponse(f"http://localhost:{self._port}/cdn/{_model_id(request)}/{name}", 302, headers)
        return self._serve(request, repo, name, headers)

    async def _content(self, request: Request) -> Response:
        self._note(request)
        return self._serve(request, self.repos[_model_id(request)], request.path_params["path"], {})

    def _serve(self, request: Request, repo: Repo, name: str, headers: dict[str, str]) -> Response:
        content = repo.files[name]
        if name in self.faults.corrupt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        status, first, last = 200, 0, len(content) - 1
        wanted = RANGE.fullmatch(request.headers.get("range", ""))
        if wanted and not self.faults.ignore_ranges:
            status, first = 206, int(wanted[1])
            last = min(last, int(wanted[2])) if wanted[2] else last
            headers = {**headers, "content-range": f"bytes {first}-{last}/{len(content)}"}
        body = content[first : last + 1]
        headers = {**headers, "content-length": str(len(body))}
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        return StreamingResponse(self._pieces(name, body), status, headers)

    async def _pieces(self, name: str, body: bytes) -> AsyncIterator[bytes]:
        cuts = self.faults.cut_at.get(name)
        cut = cuts.pop(0) if cuts else None
        gate = self._gates.get(name)
        sent = 0
        while sent < len(body):
            if gate and sent >= gate[0]:
                gate[1].set()
                await anyio.to_thread.run_sync(gate[2].wait)
                gate = None
            stops = [sent + PIECE_BYTES, len(body), *([cut] if cut is not None else []), *([gate[0]] if gate else [])]
            end = min(stop for stop in stops if stop > sent) if cut != sent else sent
            if end == sent:
                raise ConnectionError("cut by the test")
            try:
                yield body[sent:end]
                if name in self.faults.bytes_per_s:
                    await anyio.sleep((end - sent) / self.faults.bytes_per_s[name])
            except (asyncio.CancelledError, GeneratorExit):
                self.left.append(name)
                raise
            sent = end

    def _admit(self, request: Request) -> tuple[Repo | None, Response]:
        """The repository, or why not."""
        self._note(request)
        if self.faults.status is not None:
            return None, Response(status_code=self.faults.status)
        token = request.headers.get("authorization")
        if token is not None and not self._authorized(request):
            message = "Invalid credentials in Authorization header"
            return None, Response(status_code=401, headers={"x-error-message": message})
        repo = self.repos.get(_model_id(request))
        if repo is None or (repo.private and not self._authorized(request)):
            # As the real one: without a token it does not even say that there is nothing.
            return None, _refuse(404 if token else 401, "RepoNotFound")
        return repo, Response()

    def _authorized(self, request: Request) -> bool:
        return request.headers.get("authorization", "").removeprefix("Bearer ") in self.tokens

    def _note(self, request: Request) -> None:
        head = request.headers
        self.requests.append(
            Seen(
                request.method,
                request.url.path,
                head["host"],
                head.get("range"),
                head.get("authorization"),
                head.get("user-agent"),
            )
        )


def _model_id(request: Request) -> str:
    return f"{request.path_params['org']}/{request.path_params['name']}"


def _refuse(status: int, code: str) -> Response:
    return Response(status_code=status, headers={"x-error-code": code, "x-error-message": f"test: {code}"})
