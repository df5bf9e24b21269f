"""Bodies without end, on every call there is, with and without a length."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.attacks.memory import MIB, measured
from tests.attacks.registry import attack
from tests.operations import is_inference
from tests.serving import Server

PIECE = b" " * 65536
CONTROL_CALLS = [
    ("PUT", "/models/v2/tiny/gpt2"),
    ("PATCH", "/models/v2/tiny/gpt2"),
    ("DELETE", "/models/v2/tiny/gpt2"),
    ("GET", "/models/v2/list/clusters"),
    ("POST", "/models/v2/request/tiny/gpt2"),
    ("POST", "/model/load"),
    ("POST", "/model/job"),
    ("GET", "/openapi.json"),
    ("POST", "/nothing/here"),
]


def endless(size: int) -> Iterator[bytes]:
    yield b'{"text": "a"'
    for _ in range(size // len(PIECE)):
        yield PIECE


def send(server: Server, method: str, path: str, size: int, *, chunked: bool) -> httpx.Response:
    content = endless(size) if chunked else b"".join(endless(size))
    return server.client.request(method, path, content=content, headers={"content-type": "application/json"})


@attack
def send_endless_body(server: Server) -> httpx.Response:
    return send(server, "PUT", "/models/v2/tiny/gpt2", 256 * MIB, chunked=True)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize(("method", "path"), CONTROL_CALLS)
def test_a_call_that_is_no_inference_takes_a_small_body_only(server: Server, method: str, path: str, chunked: bool):
    response = send(server, method, path, 1 * MIB, chunked=chunked)
    assert response.status_code == 413, response.text
    error = response.json()["error"]
    assert error.startswith("body: got ")
    assert error.endswith("accepted: at most 65536 bytes")


@pytest.fixture
def narrow(zoo: Path, tmp_path: Path) -> Iterator[Server]:
    """Takes bodies of a megabyte where others take 64, so that as much need not be sent to every call."""
    with Server(tmp_path, zoo, "--max-body-mb", "1", boots=False) as server:
        yield server


def test_every_call_that_is_described_has_a_limit(narrow: Server):
    paths = narrow.client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in methods.keys() & {"get", "put", "post", "patch", "delete"}:
            names = {"org": "tiny", "model": "gpt2", "task": "chat", "request_id": "req_1", "name": "a.png"}
            others = {"alias": "a-name", "response_id": "resp_1", "provider": "openrouter", "account": "x", "key": "x"}
            url = path.format(**names, **others, node="x")
            content = endless(2 * MIB if is_inference(methods[method]) else MIB)
            response = narrow.client.request(method.upper(), url, content=content)
            assert response.status_code == 413, f"{method} {path}: {response.text}"


def test_an_endless_body_costs_no_memory(server: Server):
    with measured(server) as cost:
        response = send_endless_body(server)
    assert cost.most_bytes < 32 * MIB, f"{cost.most_bytes // MIB} MiB"
    assert response.status_code == 413


def test_a_small_body_is_still_read_however_it_is_sent(server: Server):
    content = json.dumps({"capacity": {"min": 0, "desired": 0, "max": 1}}).encode()
    for body in (content, iter([content[:9], content[9:]])):
        response = server.client.put("/models/v2/tiny/gpt2", content=body)
        assert response.status_code == 202, response.text
    assert server.delete("tiny/gpt2").status_code == 200
