"""The console's files as they are sent, and what a browser may do with them."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette

from modelyard.gateway.console.page import BUILT, ConsolePage

FIRST_PAINT_KB = 60
WHOLE_KB = 250


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(Starlette(routes=ConsolePage().routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        yield client


async def test_the_page_lets_nothing_else_in(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"].split("; ")
    assert {"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert "unsafe" not in page.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=|https?://", page.text)


async def test_what_the_page_is_made_of_is_there_for_ever(client: httpx.AsyncClient) -> None:
    named = re.findall(r'(?:src|href)="(/assets/[^"]+)"', (await client.get("/")).text)
    assert len(named) >= 3
    for path in named:
        file = await client.get(path)
        assert file.status_code == 200, path
        assert "immutable" in file.headers["cache-control"]
        assert file.headers["content-type"].partition(";")[0] in ("text/javascript", "text/css", "image/svg+xml")


async def test_a_file_is_compressed_for_those_who_can_read_it(client: httpx.AsyncClient) -> None:
    plain = await client.get("/", headers={"accept-encoding": "identity"})
    packed = await client.get("/", headers={"accept-encoding": "br, gzip"})
    assert (plain.headers.get("content-encoding"), packed.headers["content-encoding"]) == (None, "gzip")
    assert plain.content == packed.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])


async def test_what_a_browser_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    again = await client.get("/", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/assets/none.js", "/assets/", "/assets/..%2findex.html", "/assets/%2e%2e/page.py"])
async def test_nothing_else_is_sent(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


def packed_kb(*patterns: str) -> float:
    """What the files of the console weigh as they are sent."""
    files = {path for pattern in patterns for path in BUILT.glob(pattern)}
    return sum(len(gzip.compress(path.read_bytes())) for path in files) / 1000


def test_the_console_is_light() -> None:
    first = re.findall(r'(?:src|href)="/(assets/[^"]+)"', (BUILT / "index.html").read_text())
    assert 20 < packed_kb("index.html", *first) < FIRST_PAINT_KB
    assert packed_kb("**/*.js", "**/*.css", "**/*.html", "**/*.svg") < WHOLE_KB
