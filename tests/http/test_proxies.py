"""Where a request comes from, as the application is told."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.errors import InvalidRequest
from modelyard.http.proxies import Proxies, believe_proxies

PROXY = ("10.0.0.1", 1234)
FORGED, REAL = (b"x-forwarded-for", b"203.0.113.66"), (b"x-real-ip", b"203.0.113.7")


async def client_of(proxies: Proxies, *headers: tuple[bytes, bytes], client: tuple[str, int] = PROXY) -> str:
    """The address that an application sees."""
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["client"][0])

    scope = {"type": "http", "scheme": "http", "client": client, "headers": list(headers)}
    await believe_proxies(app, proxies)(scope, None, None)
    return str(seen[0])


async def test_nobody_is_believed_where_no_proxy_is_trusted() -> None:
    assert await client_of(Proxies(), FORGED) == PROXY[0]


async def test_a_trusted_proxy_is_believed_in_its_header_and_in_no_other() -> None:
    usual, own = Proxies(["10.0.0.0/8"]), Proxies(["10.0.0.0/8"], "X-Real-IP")
    assert await client_of(usual, FORGED, REAL) == "203.0.113.66"
    assert await client_of(own, FORGED, REAL) == "203.0.113.7"
    assert await client_of(own, FORGED) == PROXY[0]


async def test_others_are_not_believed_in_either() -> None:
    other = ("192.0.2.1", 1)
    assert await client_of(Proxies(["10.0.0.0/8"], "X-Real-IP"), FORGED, REAL, client=other) == other[0]


async def test_of_several_addresses_the_last_that_is_no_proxy_counts() -> None:
    forwarded = [(b"x-real-ip", b"203.0.113.66, 203.0.113.7"), (b"x-real-ip", b"10.0.0.2")]
    assert await client_of(Proxies(["10.0.0.0/8"], "X-Real-IP"), *forwarded) == "203.0.113.7"


@pytest.mark.parametrize(
    ("proxies", "field"),
    [
        (Proxies(["nobody"]), "trusted_proxies"),
        (Proxies([], "X Real IP"), "proxy_header"),
        (Proxies([], ""), "proxy_header"),
        (Proxies([], "Forwarded"), "proxy_header"),
    ],
)
def test_a_setting_that_cannot_be_kept_is_named(proxies: Proxies, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        proxies.check()
    assert refused.value.data["field"] == field
