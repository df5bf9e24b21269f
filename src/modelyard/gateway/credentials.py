"""What a request shows for a key: a header, or the console's cookie, which is written as if it were one.

Owns the cookie's name, and which requests with it are believed: a browser sends it by itself, so that one which changes
something must prove to come from the console's own page. What is shown is `accounts.keys`' to judge.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request, cookie_parser

from modelyard.accounts.sessions import SCHEME
from modelyard.errors import ForeignPage
from modelyard.http.exchange import HttpExchange

COOKIE = "modelyard_session"
CONSOLE_HEADER = b"x-modelyard-console"
"""What pages of other origins could send with our leave only, which nobody gets. Source: Fetch Standard, CORS."""
READS = frozenset({"GET", "HEAD", "OPTIONS"})

FindHeader = Callable[[bytes], str | None]
"""A header by its lower-case name."""


def of_inference(http: HttpExchange) -> str | None:
    """What an inference shows, as an Authorization header. Raises ForeignPage."""
    return http.header(b"authorization") or http.header(b"x-api-key") or of_cookie(http.header, changes=True)


def of_call(request: Request) -> str | None:
    """What any other call shows. Raises ForeignPage."""
    shown = request.headers.get("authorization") or request.headers.get("x-api-key")
    return shown or of_cookie(headers_of(request), changes=request.method not in READS)


def of_cookie(find_header: FindHeader, *, changes: bool) -> str | None:
    """What the console's cookie stands for; None without one. Raises ForeignPage."""
    cookie = find_header(b"cookie")
    token = None if cookie is None else cookie_parser(cookie).get(COOKIE)
    if not token:
        return None
    if changes:
        check_is_console(find_header)
    return f"{SCHEME} {token}"


def check_is_console(find_header: FindHeader) -> None:
    """Raises ForeignPage unless the request was sent by a page of this server. Source: Fetch Metadata, 2.3."""
    site, origin = find_header(b"sec-fetch-site"), find_header(b"origin")
    is_own = site == "same-origin" if site is not None else bool(origin) and is_origin_of(origin, find_header(b"host"))
    if not is_own or find_header(CONSOLE_HEADER) != "1":
        raise ForeignPage


def is_origin_of(origin: str | None, host: str | None) -> bool:
    """Whether pages of an origin are those of a host. Browsers that send no Sec-Fetch-Site, as over HTTP, send it."""
    return bool(origin and host) and urlsplit(origin).netloc == host


def headers_of(request: Request) -> FindHeader:
    """The headers of a call."""
    return lambda name: request.headers.get(name.decode("latin-1"))
