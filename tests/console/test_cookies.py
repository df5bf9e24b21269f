"""Every call that the server's document describes, made with cookies of the console: they open what their keys do.

Holds no list of calls: what is added later is walked by being described.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from modelyard.accounts.sessions import LIFE
from modelyard.gateway.console.session import PATH
from modelyard.gateway.credentials import COOKIE, READS
from modelyard.gateway.operation import PATH_PARAMETERS
from tests.operations import operations
from tests.serving import PLAIN, REQUEST_S, Server, wait_until

OWN_PAGE = {"x-modelyard-console": "1", "sec-fetch-site": "same-origin"}
OWNER, ALIAS = "account-with-a-name", "alias-with-a-name"
KNOWN = {"org": "many", "model": "m00", "account": OWNER, "alias": ALIAS, "provider": "openrouter"}
NAMES = {**dict.fromkeys(PATH_PARAMETERS, "x"), **KNOWN}


@contextmanager
def browser_of(server: Server, key: str, **headers: str) -> Iterator[httpx.Client]:
    """A browser in which somebody has signed in."""
    with httpx.Client(base_url=server.url, headers=OWN_PAGE, timeout=REQUEST_S, verify=PLAIN) as browser:
        answer = browser.post(PATH, json={"key": key})
        assert answer.status_code == 200, answer.text
        browser.headers.update(headers)
        yield browser


def calls(server: Server) -> list[tuple[str, str]]:
    """Method and path of every call that asks for a key."""
    document = server.client.get("/openapi.json").json()
    found = [
        (method.upper(), path.format(**NAMES))
        for method, path, words in operations(document)
        if words.get("security") != []
    ]
    assert len(found) > 60
    return found


@pytest.fixture(scope="module")
def held(console_server: Server) -> Iterator[dict[str, Any]]:
    """What an account has that others must not see."""
    key = console_server.command("keys", "create", "theirs", "--account", OWNER)
    console_server.command("aliases", "set", ALIAS, "many/m01", "--account", OWNER)
    with browser_of(console_server, key) as owner:
        assert (
            owner.put("/models/v2/many/m00", json={"capacity": {"min": 0, "desired": 0, "max": 1}}).status_code == 202
        )
        yield owner.get("/models/v2/many/m00").json()["output"]
        owner.delete("/models/v2/many/m00")


def test_no_wrong_or_ended_cookie_opens_anything(console_server: Server, held: dict[str, Any]) -> None:
    key = console_server.command("keys", "create", "short-lived", "--account", OWNER)
    with browser_of(console_server, key) as ended:
        console_server.command("keys", "revoke", key[:8])
        wait_until(lambda: ended.get(PATH).json()["output"] is None)
        token = ended.cookies[COOKIE]
        key_id, end, seal = token.split(".")
        later = f"{key_id}.{int(end) + int(LIFE.total_seconds())}.{seal}"
        for cookie in (token, later, "none"):
            ended.cookies.clear()
            ended.cookies.set(COOKIE, cookie)
            for method, path in calls(console_server):
                told = ended.request(method, path)
                assert told.status_code in (401, 429), f"{method} {path}: {told.text}"


def test_pages_of_others_change_nothing_with_it(console_server: Server, held: dict[str, Any]) -> None:
    key = console_server.command("keys", "create", "theirs-too", "--account", OWNER)
    with browser_of(console_server, key, **{"sec-fetch-site": "cross-site"}) as misled:
        for method, path in calls(console_server):
            if method not in READS:
                told = misled.request(method, path)
                assert told.status_code == 403, f"{method} {path}: {told.text}"
        assert misled.get("/models/v2/many/m00").json()["output"] == held


def test_it_shows_nothing_of_other_accounts(console_server: Server, held: dict[str, Any]) -> None:
    key = console_server.command("keys", "create", "others", "--account", "eve")
    with browser_of(console_server, key) as eve:
        for method, path in calls(console_server):
            if method not in READS:
                continue
            with eve.stream(method, path) as told:
                if told.headers["content-type"].startswith("text/event-stream"):
                    continue
                text = told.read().decode("utf-8", "replace")
            assert told.status_code < 500, f"{method} {path}: {text}"
            assert "/admin/" not in path or told.status_code in (403, 429), f"{method} {path}: {text}"
            for secret in (OWNER, ALIAS):
                assert secret in path or secret not in text, f"{method} {path}"
