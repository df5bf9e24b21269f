"""Providers as the operator's settings name them."""

from __future__ import annotations

import pytest

from modelyard.errors import InvalidRequest
from modelyard.records.providers import CHAT, EMBED, read_keys, read_providers

KEY = "sk-very-secret"


def test_a_known_provider_may_be_somewhere_else() -> None:
    providers = read_providers(["cohere=http://127.0.0.1:9/"])
    assert providers["cohere"].url_for(CHAT) == "http://127.0.0.1:9/v2/chat"
    assert providers["cohere"].url_for(EMBED) == "http://127.0.0.1:9/v2/embed"
    assert not providers["cohere"].is_own
    assert providers["openai"].url_for(CHAT) is None


def test_a_server_of_ones_own_has_a_name_of_its_own() -> None:
    acme = read_providers(["acme=https://acme.example/v1"])["acme"]
    assert acme.is_own
    assert acme.url_for(CHAT) == "https://acme.example/v1"


@pytest.mark.parametrize(
    "given", ["acme", "acme=ftp://x", "acme=https://", "acme=https://user:pass@x", "Ac me=https://x", "list=https://x"]
)
def test_what_is_no_name_and_address_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match="provider_urls"):
        read_providers([given])


@pytest.mark.parametrize("given", [f"nobody={KEY}", KEY, "openai="])
def test_a_key_that_is_wrong_is_not_shown(given: str) -> None:
    with pytest.raises(InvalidRequest, match="provider_keys") as raised:
        read_keys([given], read_providers([]))
    assert KEY not in str(raised.value)


def test_a_key_shows_itself_nowhere() -> None:
    (key,) = read_keys([f"openai={KEY}"], read_providers([])).values()
    assert key.reveal() == KEY
    assert KEY not in f"{key!r} {key}"
