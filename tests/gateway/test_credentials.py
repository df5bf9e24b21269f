"""What a request shows for a key, and which requests with the console's cookie are believed."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from modelyard.accounts import sessions
from modelyard.accounts.keys import read_session
from modelyard.errors import ForeignPage
from modelyard.gateway.credentials import COOKIE, of_call
from tests.gateway.conftest import Gateway
from tests.gateway.http_client import HttpClient

CONSOLE = {"x-modelyard-console": "1"}
SAME = {"sec-fetch-site": "same-origin", **CONSOLE}


def request(method: str = "GET", **headers: str) -> Request:
    sent = {"host": "models.example:8080", "cookie": f"other=1; {COOKIE}=tok", **headers}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": raw})


def test_a_cookie_is_what_a_read_shows() -> None:
    shown = of_call(request())
    assert read_session(shown) == "tok"


def test_a_header_goes_before_the_cookie() -> None:
    assert of_call(request("POST", authorization="Key mine")) == "Key mine"
    assert of_call(request("POST", **{"x-api-key": "mine"})) == "mine"


@pytest.mark.parametrize(
    "headers",
    [SAME, {"origin": "http://models.example:8080", **CONSOLE}, {"origin": "https://models.example:8080", **CONSOLE}],
    ids=["by the browser's word", "by the origin", "behind a proxy that ends TLS"],
)
def test_the_console_may_change_things(headers: dict[str, str]) -> None:
    assert read_session(of_call(request("POST", **headers))) == "tok"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        CONSOLE,
        {"sec-fetch-site": "same-origin"},
        {**SAME, "sec-fetch-site": "cross-site"},
        {**SAME, "sec-fetch-site": "same-site"},
        {**SAME, "sec-fetch-site": "none"},
        {"origin": "http://models.example:8081", **CONSOLE},
        {"origin": "http://evil.example", **CONSOLE},
        {"origin": "null", **CONSOLE},
        {"origin": "", **CONSOLE},
        {"sec-fetch-site": "cross-site", "origin": "http://models.example:8080", **CONSOLE},
    ],
    ids=str,
)
def test_no_other_page_may(method: str, headers: dict[str, str]) -> None:
    with pytest.raises(ForeignPage):
        of_call(request(method, **headers))


def test_without_a_cookie_nothing_is_shown() -> None:
    for cookie in ("", f"{COOKIE}=", "other=1"):
        assert of_call(request("POST", cookie=cookie)) is None


async def test_an_inference_takes_the_consoles_cookie_from_the_console_alone(gateway: Gateway) -> None:
    keys, clock = gateway.control.store.keys, gateway.control.clock
    made = gateway.administration.create_key("browser", "ada")
    cookie = {"cookie": f"{COOKIE}={sessions.begin(keys, made.key, clock.now())}"}
    told = await gateway.ask(HttpClient({"text": "a"}, headers={**cookie, **SAME}))
    assert (told.status, told.json()["output"]) == (200, "done")
    record = await gateway.record()
    assert record is not None
    assert record.key_id == made.key.id
    foreign = await gateway.ask(HttpClient({"text": "a"}, headers=cookie))
    assert foreign.status == 403
    assert "not from the console. Send an API key in its place." in foreign.json()["error"]
    ended = await gateway.ask(HttpClient({"text": "a"}, headers={"cookie": f"{COOKIE}=a.1.b", **SAME}))
    assert (ended.status, ended.json()["error"]) == (401, "This session of the console has ended. Sign in again.")
