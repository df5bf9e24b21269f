"""`/` and `/assets`: the console's built files, compressed once and kept in memory.

Owns what a browser may do with them. They are built from `console/` at the root of the repository by `make console`.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

BUILT = Path(__file__).parent / "built"
INDEX = "index.html"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: data:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""Nothing comes from elsewhere, and nothing that is written into the page runs. Source: Content Security Policy 3."""
FOR_EVER = "public, max-age=31536000, immutable"
"""Of files whose names have a hash of what is in them."""
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """A file of the console. `headers`: of every answer with it."""

    plain: bytes
    compressed: bytes
    headers: Mapping[str, str]


class ConsolePage:
    """Answers with the built files, each of which is read when it is first asked for."""

    def __init__(self, folder: Path = BUILT) -> None:
        self._folder = folder
        self._names = frozenset(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        self._read: dict[str, BuiltFile] = {}

    def routes(self) -> list[Route]:
        """The page, and what it is made of."""
        return [Route("/", self.show_page), Route("/assets/{name}", self.show_asset)]

    async def show_page(self, request: Request) -> Response:
        """Answers GET /."""
        return self._answer(request, INDEX)

    async def show_asset(self, request: Request) -> Response:
        """Answers GET /assets/{name}."""
        return self._answer(request, f"assets/{request.path_params['name']}")

    def _answer(self, request: Request, name: str) -> Response:
        if name not in self._names:
            raise HTTPException(404)
        file = self._read.get(name)
        if file is None:
            file = self._read[name] = read_built(self._folder, name)
        if request.headers.get("if-none-match") == file.headers["etag"]:
            return Response(status_code=304, headers=file.headers)
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(file.compressed, headers={**file.headers, "content-encoding": "gzip"})
        return Response(file.plain, headers=file.headers)


def read_built(folder: Path, name: str) -> BuiltFile:
    """A built file, and how it is sent."""
    plain = (folder / name).read_bytes()
    headers = {
        "content-type": TYPES.get(Path(name).suffix, "application/octet-stream"),
        "cache-control": "no-cache" if name == INDEX else FOR_EVER,
        "etag": f'"{hashlib.sha256(plain).hexdigest()[:32]}"',
        "vary": "accept-encoding",
        "x-content-type-options": "nosniff",
    }
    if name == INDEX:
        headers |= {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "x-frame-options": "DENY"}
    return BuiltFile(plain, gzip.compress(plain, mtime=0), headers)
