"""What requests of one account cost another: nothing. A price is the catalogue's, whatever requests do to replicas."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks.registry import attack
from tests.serving import Server

MODEL = "tiny/gpt2"
LARGE = {"text": ["the cat " * 20] * 500, "params": {"max_new_tokens": 4}}
"""Makes a replica hold 35 MB more than its model was thought to need: by reading, however little it writes."""


def price(server: Server) -> dict[str, Any]:
    response = server.client.get("/models/v2/list/models", params={"modelId": MODEL})
    assert response.status_code == 200, response.text
    (model,) = response.json()["output"]
    return {name: model[name] for name in ("ramRequired", "memorySource", "meter", "meterPrice")}


def lives(server: Server) -> list[dict[str, Any]]:
    response = server.client.get("/models/v2/usage", params={"lines": "true", "modelId": MODEL})
    assert response.status_code == 200, response.text
    return list(response.json()["output"]["lines"])


@attack
def send_large_request(server: Server) -> None:
    assert server.post(MODEL, **LARGE).status_code == 200


@pytest.mark.parametrize("requests", [2, pytest.param(8, marks=pytest.mark.verify(part="attacks"))])
def test_large_requests_raise_no_price(server: Server, requests: int) -> None:
    server.run(MODEL, text="the")
    before, lived = price(server), len(lives(server))
    for _ in range(requests):
        send_large_request(server)
    server.delete(MODEL)

    server.run(MODEL, text="the")

    assert price(server) == before
    server.delete(MODEL)
    ours = sorted(lives(server), key=lambda life: str(life["from"]))[lived:]
    assert ours
    assert {round(life["ramRequired"], 4) for life in ours} == {before["ramRequired"]}
