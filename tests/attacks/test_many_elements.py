"""Bodies of many small elements, of great depth, and with values that must not be shown whole."""

from __future__ import annotations

import json

import httpx
import pytest

from tests.attacks.memory import MIB, Cost, measured
from tests.attacks.registry import attack
from tests.serving import Server

MODEL = "tiny/gpt2"
SIZE = 20 * MIB


def body_of(element: str, size: int = SIZE) -> bytes:
    return f'{{"text": [{",".join([element] * (size // (len(element) + 1)))}]}}'.encode()


def post(server: Server, content: bytes, path: str = f"/models/v2/{MODEL}") -> httpx.Response:
    return server.client.post(path, content=content, headers={"content-type": "application/json"})


@attack
def send_many_elements(server: Server) -> list[httpx.Response]:
    return [post(server, body_of(element)) for element in ("[]", '{"a":1}', '"a"')]


@attack
def send_deep_bodies(server: Server) -> list[httpx.Response]:
    return [post(server, f'{{"text": {"[" * depth}{"]" * depth}}}'.encode()) for depth in (70, 900, 20_000, 1_000_000)]


def test_many_elements_cost_neither_memory_nor_time(server: Server):
    usual, cost, responses = compare_with_one_element(server)
    figures = f"{cost.most_bytes // MIB} MiB, {cost.cpu_s:.2f} s of CPU time, for one element {usual.cpu_s:.2f} s"
    assert cost.most_bytes < usual.most_bytes + 3 * SIZE, figures
    assert cost.cpu_s < 3 * len(responses) * usual.cpu_s + 0.5, figures
    for response in responses:
        assert response.status_code == 413, figures
        assert response.json()["error"].startswith("body: got ")


@pytest.mark.verify(part="attacks")
def test_many_elements_hold_up_nobody(server: Server):
    usual, cost, _ = compare_with_one_element(server)
    assert max(cost.waits_s) < max(usual.waits_s) + 0.5


def compare_with_one_element(server: Server) -> tuple[Cost, Cost, list[httpx.Response]]:
    """What a body of one large element costs, and what the attack does; its answers."""
    post(server, b'{"text": "warm"}')
    with measured(server) as usual:
        post(server, json.dumps({"text": [f"{'a' * SIZE}"], "params": {"nothing": 1}}).encode())
    with measured(server) as cost:
        responses = send_many_elements(server)
    return usual, cost, responses


def test_deep_bodies_are_refused(server: Server):
    for response in send_deep_bodies(server):
        assert response.status_code in {400, 413}
        assert "deep" in response.json()["error"] or "at most" in response.json()["error"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": {"a": "' + b"x" * 6 * MIB + b'"}}',
        b'{"text": [' + b"1" * 4000 + b"]}",
        b'{"text": "a", "params": {"' + b"x" * 6 * MIB + b'": 1}}',
        b'{"' + b"x" * 6 * MIB + b'": 1}',
        b"[" + b"1," * 20_000 + b"1]",
    ],
    ids=["value", "number", "param", "field", "list"],
)
def test_an_error_never_repeats_what_was_sent_in_full(server: Server, content: bytes):
    response = post(server, content)
    assert 400 <= response.status_code < 500
    assert len(response.content) < 8192


def test_fields_of_forms_are_bounded_too(server: Server):
    element = "[]," * 100_000
    response = server.client.post(f"/models/v2/{MODEL}", files={"words": (None, f"[{element}[]]")})
    assert response.status_code == 413, response.text


def test_a_list_of_texts_has_a_most(server: Server):
    response = post(server, json.dumps({"text": ["a"] * 1025}).encode())
    assert response.status_code == 422
    assert "1024" in response.json()["error"]
    pairs = {"text": [["a", "b"]] * 1025}
    assert post(server, json.dumps(pairs).encode(), "/models/v2/tiny/classifier").status_code == 422
    documents = {"query": "a", "documents": ["a"] * 1025}
    response = post(server, json.dumps(documents).encode(), "/models/v2/tiny/ranker")
    assert response.status_code == 422
    assert "1024" in response.json()["error"]
    labels = {"text": "a", "candidate_labels": ",".join(["label"] * 1000)}
    response = post(server, json.dumps(labels).encode(), "/models/v2/tiny/nli")
    assert response.status_code == 422, response.text
