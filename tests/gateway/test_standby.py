"""What a server answers while another leads, and one that is not sure whether it still does."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from modelyard.errors import LeaseLost, StoreUnavailable
from modelyard.gateway.server import answer_meanwhile
from modelyard.gateway.standby import answer_as_standby, answer_while_leading
from modelyard.http.exchange import App, Receive, Scope, Send
from modelyard.http.server import listen, url_of


async def answer_yes(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"yes"})


async def get(app: App, path: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://here") as client:
        return await client.get(path)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/health", 200, {"status": "standby"}),
        ("/livez", 200, {"status": "standby"}),
        ("/readyz", 503, {"status": "standby"}),
    ],
)
async def test_health_says_that_a_server_is_a_standby(path: str, status: int, body: dict[str, str]) -> None:
    answer = await get(answer_as_standby, path)
    assert (answer.status_code, answer.json()) == (status, body)


async def test_everything_else_is_told_when_to_try_again() -> None:
    answer = await get(answer_as_standby, "/models/v2/org/name")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json() == {
        "error": "Another server leads, and this one waits to take its place. Ask that one, or try again in a moment.",
        "output": None,
    }


def raising(error: Exception) -> Callable[[], Coroutine[Any, Any, None]]:
    async def renew() -> None:
        raise error

    return renew


async def test_a_server_that_leads_answers_without_asking() -> None:
    app = answer_while_leading(answer_yes, lambda: True, raising(AssertionError("asked")))
    assert (await get(app, "/health")).text == "yes"


async def test_one_that_was_stopped_asks_first_and_is_a_standby_when_another_leads() -> None:
    app = answer_while_leading(answer_yes, lambda: False, raising(LeaseLost()))
    assert (await get(app, "/health")).json() == {"status": "standby"}
    assert (await get(app, "/models/v2/org/name")).status_code == 503


async def test_while_nobody_can_say_who_leads_it_goes_on_answering() -> None:
    async def hang() -> None:
        await asyncio.Event().wait()

    for renew in (raising(StoreUnavailable("away")), hang):
        app = answer_while_leading(answer_yes, lambda: False, renew)
        assert (await get(app, "/health")).text == "yes"


async def test_who_serves_next_takes_over_the_socket() -> None:
    with listen("127.0.0.1", 0) as listener:
        url = url_of(listener)
        async with httpx.AsyncClient() as client:
            async with AsyncExitStack() as waiting:
                answer_meanwhile(waiting, answer_as_standby, listener)
                assert (await client.get(f"{url}/health")).json() == {"status": "standby"}
            async with AsyncExitStack() as serving:
                answer_meanwhile(serving, answer_yes, listener)
                assert (await client.get(f"{url}/health")).text == "yes"
