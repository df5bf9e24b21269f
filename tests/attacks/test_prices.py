"""What requests of one account cost another: nothing. A price is the catalogue's, whatever requests do to replicas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.registry import attack
from tests.builders import build
from tests.serving import Server, wait_until

MODEL = "tiny/gpt2"
LARGE = {"text": ["the cat " * 20] * 500, "params": {"max_new_tokens": 30}}
"""Makes a replica hold more than its model was thought to need."""
REQUESTS = 8


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("prices")
    build("gpt2", root / "models" / MODEL)
    with Server(root, root / "models") as server:
        yield server


def price(server: Server) -> dict[str, Any]:
    response = server.client.get("/models/v2/list/models", params={"modelId": MODEL})
    assert response.status_code == 200, response.text
    (model,) = response.json()["output"]
    return {name: model[name] for name in ("ramRequired", "memorySource", "meter", "meterPrice")}


def lives(server: Server) -> list[dict[str, Any]]:
    response = server.client.get("/models/v2/usage", params={"lines": "true"})
    assert response.status_code == 200, response.text
    return list(response.json()["output"]["lines"])


@attack
def send_large_request(server: Server) -> None:
    assert server.post(MODEL, **LARGE).status_code == 200


def test_large_requests_raise_no_price(server: Server) -> None:
    server.run(MODEL, text="the")
    before = price(server)
    for _ in range(REQUESTS):
        send_large_request(server)
    server.delete(MODEL)

    server.run(MODEL, text="the")

    assert price(server) == before
    server.delete(MODEL)
    ended = wait_until(lambda: [life for life in lives(server) if life["to"]][1:])
    assert {round(life["ramRequired"], 4) for life in ended} == {before["ramRequired"]}
