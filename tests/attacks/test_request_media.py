"""Requests that bring much: many URLs in one of them, many of them at once."""

from __future__ import annotations

import base64
import io
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image

from tests.attacks.memory import MIB, measured, workers_measured
from tests.attacks.registry import attack, attack_on
from tests.builders import build
from tests.builders.fixtures import FAMILY_OF_TASK
from tests.media.hosts import Host, file
from tests.serving import KEY, Server, resident_bytes

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(8 * MIB)
REQUEST_MB, ALL_MB = 64, 96
SENDERS, BODY = 8, 30 * MIB
SIDE, PICTURES = 6_000, 32
"""Pictures of 35 kB that take 103 MiB each once decoded, of which half a gibibyte holds four."""
MOST_DECODED = 1_024 * MIB
"""Half a gibibyte, and as much to decode the last of them in."""


LIMITS = {
    "MODELYARD_MAX_REQUEST_MB": str(REQUEST_MB),
    "MODELYARD_REQUESTS_MEMORY_MB": str(ALL_MB),
    "MODELYARD_ACCOUNT_REQUESTS_MB": str(ALL_MB),
    "MODELYARD_ALLOW_PRIVATE_MEDIA": "true",
}


def write_seeing_model(models: Path) -> None:
    build(FAMILY_OF_TASK["image-text-to-text"], models / "seeing" / "chat")


@pytest.fixture(scope="module")
def small_server(zoo: Path, attacked_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Has little memory for requests, and may fetch from this machine."""
    models = tmp_path_factory.mktemp("seeing")
    write_seeing_model(models)
    (models / "tiny").symlink_to(zoo / "tiny")
    with attacked_server.with_models(models) as server:
        server.run("tiny/classifier", text="warm")
        yield server


def conversation(urls: list[str]) -> list[dict[str, Any]]:
    pictures = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": "what is it?"}]}]


def post_urls(server: Server) -> list[httpx.Response]:
    """The answers to more and more URLs of one request."""
    with Host(file(PICTURE)) as host:
        return [server.post("seeing/chat", messages=conversation([host.url] * count)) for count in (20, 32, 50)]


@attack_on(write_seeing_model, **LIMITS)
def name_many_urls(server: Server) -> None:
    assert [answer.status_code for answer in post_urls(server)] == [413, 413, 422]
    server.delete("seeing/chat")


def begin_upload(server: Server) -> socket.socket:
    """Sends all of a large body but its last byte, as fast as the server takes it."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    head = f"POST /models/v2/tiny/classifier HTTP/1.1\r\nhost: a\r\nauthorization: Key {KEY}\r\n"
    connection.sendall(f"{head}content-type: application/json\r\ncontent-length: {BODY}\r\n\r\n".encode())
    body = b'{"base64": "' + b"A" * (BODY - 13)

    def send() -> None:
        try:
            connection.sendall(body)
        except OSError:
            return

    threading.Thread(target=send, daemon=True).start()
    return connection


@attack
def stall_large_uploads(server: Server) -> int:
    """The memory taken by uploads that never end, and by their senders' waiting."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = most = resident_bytes(process)
    connections = [begin_upload(server) for _ in range(SENDERS)]
    try:
        for _ in range(30):
            server.run("tiny/classifier", text="the cat")
            most = max(most, resident_bytes(process))
            threading.Event().wait(0.05)
    finally:
        for connection in connections:
            with closing(connection), suppress(OSError):  # its deadline may have come first
                connection.shutdown(socket.SHUT_RDWR)
    return most - before


def test_large_bodies_beyond_the_memory_for_them_wait_outside(small_server: Server):
    taken = stall_large_uploads(small_server)
    assert taken < 1.5 * ALL_MB * MIB, f"{taken // MIB} MiB"
    response = small_server.post("tiny/classifier", text="the cat", base64="data:image/png;base64," + "A" * BODY)
    assert response.status_code == 200, response.text


def test_many_urls_in_one_request_are_bounded(small_server: Server):
    with measured(small_server) as cost:
        answers = post_urls(small_server)
    assert cost.most_bytes < 2 * REQUEST_MB * MIB, f"{cost.most_bytes // MIB} MiB"
    assert [answer.status_code for answer in answers] == [413, 413, 422]
    assert "at most" in answers[0].json()["error"]
    assert "--max-request-mb" in answers[0].json()["error"]
    assert "32" in answers[2].json()["error"]


def small_file_of_many_pixels() -> str:
    file = io.BytesIO()
    Image.new("L", (SIDE, SIDE)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_pictures_that_unfold_are_bounded_together(small_server: Server):
    small_server.run("seeing/chat", text="hello", params={"max_new_tokens": 1})
    with workers_measured(small_server) as cost:
        answer = small_server.post("seeing/chat", messages=conversation([small_file_of_many_pixels()] * PICTURES))
    assert answer.status_code == 422, answer.text
    assert "messages[0].content[4]" in answer.json()["error"]
    assert "at most 512 MiB in one request" in answer.json()["error"]
    assert cost.most_bytes < MOST_DECODED, f"{cost.most_bytes // MIB} MiB"
    small_server.run("seeing/chat", text="hello", params={"max_new_tokens": 1})
