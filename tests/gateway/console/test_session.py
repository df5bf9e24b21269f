"""Signing in to the console and out again, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from modelyard.accounts.administration import Administration
from modelyard.accounts.attempts import MOST_AT_ONCE
from modelyard.accounts.calls import CallBudget
from modelyard.accounts.keys import Authenticator, hash_key
from modelyard.accounts.sessions import LIFE, write_code
from modelyard.gateway.app import make_calls
from modelyard.gateway.console.session import PATH, SessionCalls
from modelyard.gateway.credentials import COOKIE
from modelyard.store.store import Store
from tests.clock import HandClock

CONSOLE = {"x-modelyard-console": "1", "sec-fetch-site": "same-origin"}


class Console:
    """A server's sign-in, and a browser."""

    def __init__(self, store: Store, clock: HandClock, calls: ASGIApp, browser: httpx.AsyncClient) -> None:
        self.store = store
        self.clock = clock
        self.calls = calls
        self.browser = browser
        self.administration = Administration(store, clock)

    async def sign_in(self, key: str, **headers: str) -> httpx.Response:
        return await self.browser.post(PATH, json={"key": key}, headers={**CONSOLE, **headers})


@pytest.fixture
async def console(own_database: Path) -> AsyncIterator[Console]:
    clock = HandClock()
    with Store.open(f"sqlite:///{own_database}") as store:
        operator = store.accounts.ensure("admin", clock.now())
        authenticate = Authenticator(store, clock).authenticate
        calls = SessionCalls(store, clock, authenticate, operator.id).operations()
        app = make_calls(calls, authenticate, CallBudget(0, clock))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as browser:
            yield Console(store, clock, app, browser)


async def test_a_key_is_exchanged_for_a_cookie_that_pages_cannot_read(console: Console) -> None:
    made = console.administration.create_key("laptop", "ada")
    answer = await console.sign_in(made.secret)
    session = answer.json()["output"]
    assert (session["account"], session["admin"], session["keyId"]) == ("ada", False, made.key.id)
    cookie = answer.headers["set-cookie"]
    assert {"HttpOnly", "Path=/", "SameSite=strict", f"Max-Age={int(LIFE.total_seconds())}"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    assert made.secret not in cookie
    again = await console.browser.get(PATH)
    assert again.json()["output"] == session


async def test_the_operator_is_told_so(console: Console) -> None:
    answer = await console.sign_in(console.administration.create_key("laptop", "admin").secret)
    assert answer.json()["output"]["admin"] is True


async def test_over_tls_the_cookie_is_for_tls_alone(console: Console) -> None:
    key = console.administration.create_key("laptop", "ada").secret
    answer = await console.browser.post(f"https://here{PATH}", json={"key": key}, headers=CONSOLE)
    assert "Secure" in answer.headers["set-cookie"]


async def test_who_signs_out_is_nobody(console: Console) -> None:
    await console.sign_in(console.administration.create_key("laptop", "ada").secret)
    left = await console.browser.delete(PATH, headers=CONSOLE)
    assert left.status_code == 200
    assert COOKIE not in console.browser.cookies
    assert (await console.browser.get(PATH)).json() == {"error": None, "output": None}


async def test_a_header_goes_before_the_cookie(console: Console) -> None:
    await console.sign_in(console.administration.create_key("laptop", "ada").secret)
    eve = console.administration.create_key("laptop", "eve").secret
    answer = await console.browser.get(PATH, headers={"authorization": f"Key {eve}"})
    assert answer.json()["output"]["account"] == "eve"
    assert (await console.browser.get(PATH, headers={"authorization": "Key wrong"})).json()["output"] is None


async def test_a_code_signs_the_operator_in_once(console: Console) -> None:
    made = console.administration.create_key("laptop", "admin")
    code = write_code(made.key.id, hash_key(made.secret), console.clock.now())
    answer = await console.browser.post(PATH, json={"code": code}, headers=CONSOLE)
    assert answer.json()["output"]["keyId"] == made.key.id
    assert (await console.browser.get(PATH)).json()["output"]["admin"] is True
    again = await console.browser.post(PATH, json={"code": code}, headers=CONSOLE)
    assert (again.status_code, "set-cookie" in again.headers) == (401, False)
    assert "good once" in again.json()["error"]


async def test_a_code_signs_in_nobody_else_and_from_nowhere_else(console: Console) -> None:
    """Else a link could lead somebody to sign in as whoever has written it."""
    ada, admin = (console.administration.create_key("laptop", name) for name in ("ada", "admin"))
    codes = [write_code(each.key.id, hash_key(each.secret), console.clock.now()) for each in (ada, admin)]
    assert (await console.browser.post(PATH, json={"code": codes[0]}, headers=CONSOLE)).status_code == 401
    elsewhere = httpx.ASGITransport(console.calls, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=elsewhere, base_url="http://here") as browser:
        assert (await browser.post(PATH, json={"code": codes[1]}, headers=CONSOLE)).status_code == 401
    assert (await console.browser.post(PATH, json={"code": codes[1]})).status_code == 403
    assert (await console.browser.post(PATH, json={"code": codes[1]}, headers=CONSOLE)).status_code == 200


async def test_pages_of_others_sign_nobody_in_or_out(console: Console) -> None:
    key = console.administration.create_key("laptop", "ada").secret
    for headers in ({"sec-fetch-site": "cross-site"}, {"x-modelyard-console": ""}):
        refused = await console.sign_in(key, **headers)
        assert (refused.status_code, "set-cookie" in refused.headers) == (403, False)
    await console.sign_in(key)
    assert (await console.browser.delete(PATH)).status_code == 403
    assert (await console.browser.get(PATH)).status_code == 200


@pytest.mark.parametrize("body", [{}, {"key": 3}, {"key": "k", "code": "c"}, {"key": "k", "for": "ever"}], ids=str)
async def test_what_is_no_key_says_what_is_wrong(console: Console, body: dict[str, object]) -> None:
    answer = await console.browser.post(PATH, json=body, headers=CONSOLE)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(("key:", "for:"))


async def test_keys_cannot_be_guessed_without_end(console: Console) -> None:
    statuses = [(await console.sign_in(f"guess-{number}")).status_code for number in range(MOST_AT_ONCE + 1)]
    assert statuses == [401] * MOST_AT_ONCE + [429]
