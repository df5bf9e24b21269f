"""A name of an account's own, on every surface: which model it means, and what is bound to it."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.gateway.surfaces.openai.chat import ChatCompletions
from modelyard.records.clusters import Capacity, Changes
from tests.control.control_plane import SMALL
from tests.gateway.conftest import CHAT, MAX_BODY_BYTES, Gateway, answer_with
from tests.gateway.http_client import HttpClient

WORD, PAIR = "gpt-4o-mini", "acme/assistant"
BODY: dict[str, Any] = {
    "text": "hello",
    "prompt": "hello",
    "inputs": "hello",
    "input": "hello",
    "query": "hello",
    "documents": ["hello"],
    "text_1": "hello",
    "text_2": "hello",
    "texts": ["hello"],
    "max_tokens": 5,
    "messages": [{"role": "user", "content": "hello"}],
}
"""Of which each surface reads what it knows, or refuses the rest by name."""
REFUSED_FIELDS = {"/audio/": ("prompt",), "/responses": ("text",)}
"""By a part of the path, those that are refused before the model is looked for."""
UNKNOWN = "accepted: org/name, each 1-96"


def body_for(path: str) -> dict[str, Any]:
    refused = next((names for part, names in REFUSED_FIELDS.items() if part in path), ())
    return {"model": WORD, **{name: value for name, value in BODY.items() if name not in refused}}


def set_alias(gateway: Gateway, name: str, model: str = CHAT, **bound: Any) -> None:
    gateway.administration.set_alias(name, model, "ada", **bound)
    gateway.aliases.read()


async def test_every_surface_whose_bodies_name_a_model_knows_an_alias(gateway: Gateway) -> None:
    """Refusals tell that it was looked up: they are about the model's task, its cluster or a field."""
    for path, surface in gateway.surfaces.at.items():
        before = await gateway.ask(HttpClient(body_for(path), key=gateway.key), surface, None)
        assert UNKNOWN in before.text(), path
        assert "modelyard aliases set" in before.text(), path
    set_alias(gateway, WORD)
    for path, surface in gateway.surfaces.at.items():
        after = await gateway.ask(HttpClient(body_for(path), key=gateway.key), surface, None)
        assert UNKNOWN not in after.text(), path
        assert "There is no model" not in after.text(), path


async def test_every_surface_whose_paths_name_a_model_knows_an_alias(gateway: Gateway) -> None:
    set_alias(gateway, PAIR)
    for prefix, below in gateway.surfaces.named.items():
        for ending in below:
            found = gateway.surfaces.find(f"{prefix}{PAIR}{ending}")
            assert found is not None
            client = await gateway.ask(HttpClient(BODY, key=gateway.key), *found)
            assert client.status != 404, prefix + ending


@pytest.mark.parametrize("name", [WORD, PAIR])
async def test_the_model_is_asked_and_the_answer_says_the_name_that_was_sent(gateway: Gateway, name: str) -> None:
    set_alias(gateway, name)
    gateway.destination.answering = answer_with({"role": "assistant", "content": "hi"})
    body = {"model": name, "messages": [{"role": "user", "content": "hello"}]}
    client = await gateway.ask(HttpClient(body, key=gateway.key), ChatCompletions(MAX_BODY_BYTES), None)
    assert client.status == 200, client.text()
    assert client.json()["model"] == name
    assert gateway.destination.requests[0].card.model_id == CHAT
    record = await gateway.record()
    assert record is not None
    assert record.model_id == CHAT


async def test_an_alias_is_its_accounts_own(gateway: Gateway) -> None:
    set_alias(gateway, PAIR, SMALL)
    other = gateway.administration.create_key("laptop", "bob").secret
    assert (await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key), model_id=PAIR)).status == 200
    assert (await gateway.ask(HttpClient({"text": "hello"}, key=other), model_id=PAIR)).status == 404


async def test_a_model_for_another_task_than_the_alias_is_for_is_refused(gateway: Gateway) -> None:
    set_alias(gateway, PAIR, SMALL, task="chat")
    client = await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key), model_id=PAIR)
    assert client.status == 422
    assert f"{PAIR} is an alias for a model for chat; {SMALL} is one for text-generation" in client.json()["error"]
    assert gateway.destination.requests == []
    set_alias(gateway, PAIR, SMALL, task="text-generation")
    assert (await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key), model_id=PAIR)).status == 200


async def test_a_request_through_an_alias_brings_the_capacity_of_a_new_cluster(gateway: Gateway) -> None:
    set_alias(gateway, PAIR, SMALL, capacity=Changes(desired=2, max=3))
    for name in (PAIR, SMALL):
        await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key), model_id=name)
    assert [request.capacity for request in gateway.destination.requests] == [Capacity(0, 2, 3), None]


async def test_a_new_cluster_has_the_capacity_that_is_bound_and_one_that_is_there_keeps_its_own(
    gateway: Gateway,
) -> None:
    plane, account_id = gateway.control.plane, gateway.administration.get_account("ada").id
    await plane.ensure_route(account_id, SMALL, Capacity(0, 2, 3))
    assert (await plane.get(account_id, SMALL)).cluster.capacity == Capacity(0, 2, 3)
    await plane.ensure_route(account_id, SMALL, Capacity(0, 1, 9))
    assert (await plane.get(account_id, SMALL)).cluster.capacity == Capacity(0, 2, 3)
