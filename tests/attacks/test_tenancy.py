"""Every call that the server's document describes, made by one account with the names of what another one holds.

Holds no list of calls: what is added later is walked by being described.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from modelyard.gateway.operation import PATH_PARAMETERS
from tests.attacks.test_strangers import add_account
from tests.operations import body_of, goes_on, operations
from tests.serving import Server, wait_until

NOT_REPEATED = "It asks every call once, and looks at what is told."

MODEL, CHAT = "tiny/ner", "tiny/chat"
OWNER = "tenant-with-a-name"
ALIAS = "name-of-my-own"
"""Of the owner, for its model."""
BODY = {
    "model": MODEL,
    "text": "hello",
    "messages": [{"role": "user", "content": "hello"}],
    "input": "hello",
    "query": "hello",
    "documents": ["hello"],
    "text_1": "hello",
    "text_2": "hello",
}
"""Values for the fields that a body may have; a call gets those that it knows."""


@pytest.fixture(scope="module")
def owner(server: Server) -> Iterator[httpx.Client]:
    """Holds a cluster with an instance that has answered."""
    with add_account(server, OWNER) as client:
        client.put(f"/models/v2/{MODEL}", json={"capacity": {"min": 1, "desired": 1, "max": 1}})
        server.command("aliases", "set", ALIAS, MODEL, "--account", OWNER)
        wait_until(lambda: client.get(f"/v1/models/{ALIAS}").status_code == 200)
        yield client
        client.delete(f"/models/v2/{MODEL}")
        client.delete(f"/models/v2/{CHAT}")


def held(owner: httpx.Client) -> tuple[Any, set[str]]:
    """The owner's cluster as far as only the owner changes it, and the instances on its bill."""
    cluster = owner.get(f"/models/v2/{MODEL}").json()["output"]
    lines = owner.get("/models/v2/usage", params={"lines": "true"}).json()["output"]["lines"]
    return {name: cluster[name] for name in ("capacity", "status", "ready")}, {line["instanceId"] for line in lines}


def test_no_call_shows_or_changes_what_another_account_holds(server: Server, owner: httpx.Client) -> None:
    answer = owner.post(f"/models/v2/{MODEL}", json={"text": "hello"})
    assert answer.status_code == 200, answer.text
    names = {"org": "tiny", "model": "ner", "task": "chat", "name": "x", "alias": ALIAS}
    names |= {"provider": "openrouter"}
    stored = owner.post("/v1/responses", json={"model": CHAT, "input": "hello", "max_output_tokens": 2})
    assert stored.status_code == 200, stored.text
    names |= {"response_id": stored.json()["id"]}
    names |= {"request_id": answer.headers["x-request-id"], "account": OWNER, "key": "key_none", "node": "x"}
    assert names.keys() == PATH_PARAMETERS.keys(), "a part of a path has no value here"
    cluster, instances = held(owner)
    assert instances
    document = server.client.get("/openapi.json").json()
    with add_account(server, "eve-the-other") as eve:
        for method, path, operation in operations(document):
            ended = {"params": {"seconds": "0"}} if goes_on(operation) else {}
            told = eve.request(method, path.format(**names), json=body_of(operation, document, BODY), **ended)
            assert told.status_code < 500, f"{method} {path}: {told.text}"
            if "{request_id}" in path or "{response_id}" in path:
                assert told.status_code == 404, f"{method} {path}: {told.text}"
            if "{alias}" in path:
                assert told.status_code >= 400, f"{method} {path}: {told.text}"
            for secret in (OWNER, *instances):
                assert secret not in told.text, f"{method} {path}"
            assert held(owner) == (cluster, instances), f"{method} {path}"
        eve.delete(f"/models/v2/{MODEL}")
        body = {"model": CHAT, "input": "hello", "previous_response_id": names["response_id"]}
        assert eve.post("/v1/responses", json=body).status_code == 404
    assert owner.get(f"/v1/responses/{names['response_id']}").json() == stored.json()
