"""Fetches the URLs that clients send, without letting them reach into the operator's network.

Owns the guard: each hop's host is resolved once, every address checked, and the connection made to exactly the
address that was checked, so that a name whose answer changes gains nothing. Host header and TLS certificate remain
those of the name. Reads no environment, sends no credentials.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import anyio
import httpcore
import httpx

from modelyard import __version__
from modelyard.errors import InvalidRequest
from modelyard.http.exchange import Grow, Growth, count_nothing
from modelyard.media.addresses import Resolver, is_public, resolve
from modelyard.telemetry.context import TRACEPARENT, TraceContext

MAX_REDIRECTS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_URL_CHARS = 8192
PIECE_BYTES = 256 * 1024
HEADERS = {"user-agent": f"modelyard/{__version__}", "accept": "*/*", "accept-encoding": "identity"}
"""Without compression: a small answer cannot unfold to a large one."""


class Refused(Exception):
    """Why a URL is not fetched, in words that follow "its host". `cause`: which reason, where something can be done;
    `detail`: for the operator alone, as in errors."""

    def __init__(self, reason: str, cause: str | None = None, detail: str | None = None) -> None:
        self.cause = cause
        self.detail = detail
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchLimits:
    """What one fetch may cost, redirects included, and where it may go."""

    max_bytes: int = 64 * 1024**2
    total_s: float = 30.0
    allow_private: bool = False


class Fetcher:
    """Fetches media. One per process; holds no connection between fetches."""

    def __init__(
        self, limits: FetchLimits, resolver: Resolver = resolve, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        """`network` opens connections to the addresses that were found good; by default the real one."""
        self._limits = limits
        self._resolver = resolver
        self._network = network or httpcore.AnyIOBackend()
        self._tls: ssl.SSLContext | None = None

    async def fetch(
        self, url: str, where: str, grow: Grow = count_nothing, context: TraceContext | None = None
    ) -> bytes:
        """The bytes at an http(s) URL. `grow` is asked before they are read, within the same time. `context`: the trace
        that whoever is asked is told.

        Raises InvalidRequest naming `where`, the URL and why it was not fetched, and what `grow` raises.
        """
        cause = detail = None
        try:
            async with asyncio.timeout(self._limits.total_s):
                return await self._follow(check_url(url), grow, context)
        except TimeoutError:
            problem = f"it was not there within {self._limits.total_s:g} s"
        except Refused as error:
            problem, cause, detail = str(error), error.cause, error.detail
        except (httpx.InvalidURL, httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError) as error:
            problem = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        except (OSError, UnicodeError) as error:
            problem = str(error)
        message = f"{where}: cannot fetch {shown(url)}: {problem}"
        raise InvalidRequest(message, field=where, got=shown(url), cause=cause, detail=detail)

    async def _follow(self, url: httpx.URL, grow: Grow, context: TraceContext | None) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._get(url, grow, context)
            if isinstance(answer, bytes):
                return answer
            url = check_url(str(url.join(answer.location)))
        raise Refused(f"more than {MAX_REDIRECTS} redirects")

    async def _get(self, url: httpx.URL, grow: Grow, context: TraceContext | None) -> bytes | Redirect:
        """One hop. A new pool each: nothing learnt on one hop serves another."""
        guard = GuardedBackend(self._resolver, self._network, allow_private=self._limits.allow_private)
        pool = httpcore.AsyncConnectionPool(
            ssl_context=self._tls_context() if url.scheme == "https" else None,
            network_backend=guard,
            http1=True,
            http2=False,
        )
        headers = [("host", url.netloc.decode("ascii")), *HEADERS.items()]
        if context is not None:
            headers.append((TRACEPARENT, str(context)))
        # Taken apart by one parser only: what is checked is what is asked for.
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        async with guard, pool, pool.stream("GET", target, headers=headers) as response:
            if response.status in REDIRECTS:
                return Redirect(header(response.headers, b"location") or "")
            if response.status != 200:
                raise Refused(f"it answered with status {response.status}")
            return await self._read(response, Growth(grow, 0))

    async def _read(self, response: httpcore.Response, growth: Growth) -> bytes:
        most = self._limits.max_bytes
        promised = header(response.headers, b"content-length")
        if promised is not None and promised.isdigit() and int(promised) > most:
            raise Refused(f"it is {promised} bytes large; at most {most} are accepted")
        if promised is not None and promised.isdigit():
            await growth.expect(int(promised))
        data = bytearray()
        async for piece in response.aiter_stream():
            if len(data) + len(piece) > most:
                raise Refused(f"it is larger than {most} bytes")
            if len(data) + len(piece) > growth.granted_bytes:
                await growth.reach(len(data) + len(piece))
            data += piece
        return bytes(data)

    def _tls_context(self) -> ssl.SSLContext:
        """Loads the certificates once, when first needed."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


@dataclass(frozen=True, slots=True)
class Redirect:
    """An answer that points elsewhere."""

    location: str


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to checked addresses only. It is the one way out: a pool asks it for every connection.

    As a context it closes what it opened: a pool forgets a connection whose TLS handshake failed.
    """

    def __init__(self, resolver: Resolver, network: httpcore.AsyncNetworkBackend, *, allow_private: bool) -> None:
        self._resolver = resolver
        self._network = network
        self._allow_private = allow_private
        self._opened: list[httpcore.AsyncNetworkStream] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            for stream in self._opened:
                await stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address of `host` that answers. Raises Refused, in the same words whatever the reason:
        which names there are in the operator's network, and what listens there, is not a client's to know."""
        try:
            addresses = await self._resolver(host.strip("[]"), port)
        except (OSError, UnicodeError) as error:
            raise self._unreachable(host, f"no address: {error}") from None
        for address in addresses:
            if not self._allow_private and not is_public(address):  # one condemns the name
                raise self._unreachable(host, f"{address} is not on the public internet")
        reason = "no address"
        for address in addresses:
            try:
                stream = await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                reason = f"{address}: {error}"
            else:
                self._opened.append(stream)
                return stream
        raise self._unreachable(host, reason)

    def _unreachable(self, host: str, reason: str) -> Refused:
        detail = f"{host}: {reason}."
        if self._allow_private:
            return Refused("its host cannot be reached", detail=detail)
        return Refused("its host cannot be reached on the public internet", "unreachable host", detail)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never: no URL leads to a file on this machine."""
        raise Refused("it names a socket on this machine")

    async def sleep(self, seconds: float) -> None:
        """See httpcore."""
        await self._network.sleep(seconds)


def check_url(text: str) -> httpx.URL:
    """The URL, when it is one that may be asked for. Raises Refused, httpx.InvalidURL."""
    if len(text) > MAX_URL_CHARS:
        raise Refused(f"it is longer than {MAX_URL_CHARS} characters")
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise Refused(f"only http and https URLs are fetched, and this is {url.scheme or 'none'}")
    if url.userinfo:
        raise Refused("a URL with a user name or password is not fetched")
    if url.port is not None and not 0 < url.port < 65536:
        raise Refused(f"there is no port {url.port}")
    return url.copy_with(fragment=None)


def header(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """A header by its lower-case name."""
    return next((value.decode("latin-1") for key, value in headers if key.lower() == name), None)


def shown(url: str) -> str:
    """A URL for a message: without its query, which may hold a signature, and cut to a readable length."""
    bare = url.partition("?")[0].partition("#")[0]
    scheme, slashes, rest = bare.partition("://")
    host, slash, path = rest.partition("/")
    bare = f"{scheme}{slashes}{host.rpartition('@')[2]}{slash}{path}"
    return bare if len(bare) <= 200 else bare[:199] + "…"
