"""Calls that a gateway passes on: to whoever is followed then, and once only where they may change something."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from modelyard.config import Settings
from modelyard.errors import Unavailable
from modelyard.gateway.following.calls import MISDIRECTED, CallsAddress, PassedOn, target_of
from modelyard.gateway.server import serve_beside
from modelyard.http.exchange import App, Receive, Scope, Send
from modelyard.http.server import listen
from modelyard.tls import LinkTls, load_tls
from tests.certificates import make_authority, make_certificate


def answering(status: int, text: str, seen: list[str]) -> App:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive()).get("body", b"").decode()
        seen.append(f"{scope['method']} {scope['path']} {body}".strip())
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})

    return answer


def stopped(asked: asyncio.Event) -> App:
    """As a process does that is stopped when it has a call: it says nothing until the caller has left."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        asked.set()
        await receive()

    return answer


class Passing:
    """A gateway's calls, and whom they go to."""

    def __init__(self, stack: AsyncExitStack, tls: LinkTls | None = None) -> None:
        self._stack = stack
        self._tls = tls
        self.address: CallsAddress | None = None
        self.passed_on = PassedOn(self._find, tls)
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.passed_on), base_url="http://gateway")

    async def _find(self) -> CallsAddress:
        if self.address is None:
            raise Unavailable("No server leads.")
        return self.address

    def lead(self, app: App) -> CallsAddress:
        """Where this application answers."""
        listener = self._stack.enter_context(listen("127.0.0.1", 0))
        serve_beside(self._stack, app, listener, tls=self._tls)
        kind = "tcp" if self._tls is None else "tls"
        return CallsAddress(f"{kind}://127.0.0.1:{listener.getsockname()[1]}", "secret", may_change=True)


@pytest.fixture
async def passing() -> AsyncIterator[Passing]:
    async with open_passing(None) as passing:
        yield passing


@asynccontextmanager
async def open_passing(tls: LinkTls | None) -> AsyncIterator[Passing]:
    """`tls`: of both ends."""
    async with AsyncExitStack() as stack:
        passing = Passing(stack, tls)
        stack.push_async_callback(passing.passed_on.close)
        stack.push_async_callback(passing.client.aclose)
        yield passing


def nobody() -> CallsAddress:
    """Where nobody listens any more."""
    with listen("127.0.0.1", 0) as listener:
        return CallsAddress(f"tcp://127.0.0.1:{listener.getsockname()[1]}", "secret", may_change=True)


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_what_nobody_took_is_asked_of_the_next_who_leads(passing: Passing, method: str) -> None:
    seen: list[str] = []
    passing.address, after = nobody(), passing.lead(answering(200, "yes", seen))
    asked = asyncio.create_task(passing.client.request(method, "/a", content=b"body" if method == "PUT" else None))
    await asyncio.sleep(0)
    passing.address = after
    answer = await asked
    assert (answer.status_code, answer.text) == (200, "yes")
    assert seen == ["PUT /a body" if method == "PUT" else "GET /a"]


async def test_one_that_never_answers_is_left_with_the_calls_that_wait_for_it(passing: Passing) -> None:
    asked_first = asyncio.Event()
    seen: list[str] = []
    passing.address = passing.lead(stopped(asked_first))
    read = asyncio.create_task(passing.client.get("/a"))
    await asked_first.wait()
    passing.address = passing.lead(answering(200, "yes", seen))
    assert (await passing.client.get("/b")).text == "yes"
    assert (await read).text == "yes"
    assert sorted(seen) == ["GET /a", "GET /b"]


async def test_what_may_have_changed_something_is_not_done_twice(passing: Passing) -> None:
    asked_first = asyncio.Event()
    seen: list[str] = []
    passing.address = passing.lead(stopped(asked_first))
    change = asyncio.create_task(passing.client.put("/a", content=b"body"))
    await asked_first.wait()
    passing.address = passing.lead(answering(200, "yes", seen))
    assert (await passing.client.get("/b")).text == "yes"
    answer = await change
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert seen == ["GET /b"]


async def test_who_leads_no_more_is_asked_again_as_the_next_leader(passing: Passing) -> None:
    before: list[str] = []
    after: list[str] = []
    first, second = passing.lead(answering(MISDIRECTED, "no", before)), passing.lead(answering(200, "yes", after))
    addresses = [second, first]

    async def find() -> CallsAddress:
        return addresses.pop()

    passed_on = PassedOn(find)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(passed_on), base_url="http://gateway") as client:
        assert (await client.get("/a")).text == "yes"
    await passed_on.close()
    assert (before, after) == (["GET /a"], ["GET /a"])


def test_a_path_is_passed_on_as_the_gateway_has_read_it() -> None:
    scope = {"path": "/a b/é?", "raw_path": b"/a%20b/%C3%A9%3F/", "query_string": b"c=%20d"}
    assert target_of(scope)["target"] == b"/a%20b/%C3%A9%3F?c=%20d"


async def test_while_nobody_leads_a_call_is_told_when_to_try_again(passing: Passing) -> None:
    answer = await passing.client.get("/a")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0


async def test_calls_are_passed_on_to_those_with_a_certificate_and_nobody_else_is_let_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    async with open_passing(load_tls(Settings(**make_certificate(tmp_path, make_authority(tmp_path))))) as passing:
        passing.address = passing.lead(answering(200, "yes", seen))
        assert (await passing.client.put("/a", content=b"body")).text == "yes"
        async with httpx.AsyncClient(verify=False) as stranger:
            with pytest.raises(httpx.TransportError):
                await stranger.get(passing.address.http_url)
    assert seen == ["PUT /a body"]
    assert "shows no certificate: set links_certificate" in caplog.text
    assert "graceful" not in caplog.text, "who leads no more does not wait for connections on which nothing is asked"
