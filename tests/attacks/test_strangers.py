"""What somebody without a key, or with an ordinary one, is told of the server and of what lies behind it."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.attacks.memory import MIB, measured
from tests.attacks.registry import attack
from tests.builders.fixtures import FAMILY_OF_TASK
from tests.serving import KEY, PLAIN, REQUEST_S, Server, wait_until

HEADER_BYTES = 48_000
SPELLINGS = 1_000


def add_account(server: Server, name: str, *flags: str) -> httpx.Client:
    """A client with a key of an account that is not the operator's."""
    return server.client_of(server.command("keys", "create", name, "--account", name, *flags))


@pytest.fixture(scope="module", autouse=True)
def guesses_forgotten(server: Server) -> Iterator[None]:
    """Whoever shares the server is answered again, with a key that it has not seen yet."""
    yield
    with add_account(server, "newcomer") as newcomer:
        wait_until(lambda: newcomer.get("/models/v2/list/clusters").status_code == 200)


def test_health_is_one_word_for_all_but_the_operator(server: Server):
    assert httpx.get(f"{server.url}/health", timeout=REQUEST_S, verify=PLAIN).json() == {"status": "ok"}
    assert httpx.get(
        f"{server.url}/health", headers={"authorization": "Key wrong"}, timeout=REQUEST_S, verify=PLAIN
    ).json() == {"status": "ok"}
    with add_account(server, "eve") as eve:
        assert eve.get("/health").json() == {"status": "ok"}
    assert server.client.get("/health").json()["warm"] is True


def test_an_unknown_model_tells_no_path(server: Server, zoo: Path):
    for response in (
        server.post("nobody/nothing", text="a"),
        server.put("nobody/nothing"),
        server.client.post("/model/load", json={"model": "nobody/nothing"}),
        server.client.post("/models/v2/request/nobody/nothing"),
    ):
        assert response.status_code == 404, response.text
        assert str(zoo) not in response.text
        assert str(server.data_dir) not in response.text


@pytest.fixture
def seeing_server(model_folder: Callable[[str], Path], tmp_path: Path) -> Iterator[Server]:
    """Serves a model that takes images. Refusals need no model."""
    (tmp_path / "models" / "tiny").mkdir(parents=True)
    (tmp_path / "models" / "tiny" / "seeing").symlink_to(model_folder(FAMILY_OF_TASK["image-classification"]))
    server = Server(tmp_path, tmp_path / "models", boots=False)
    server.start(warm=False)
    yield server
    server.stop()
    server.client.close()


def test_hosts_that_are_private_closed_or_missing_are_told_in_one_sentence(seeing_server: Server):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        hosts = [
            f"localhost:{listening.getsockname()[1]}",
            "localhost:1",
            "10.0.0.1",
            "no-such-name.invalid",
            "[::1]:1",
        ]
        said = set()
        for host in hosts:
            response = seeing_server.post("tiny/seeing", image_url=f"http://{host}/a.png")
            assert response.status_code == 422, response.text
            said.add(response.json()["error"].replace(host, "HOST"))
    assert len(said) == 1, said


def spell_a_key_in_many_ways(server: Server, count: int) -> None:
    with httpx.Client(base_url=server.url, timeout=REQUEST_S, verify=PLAIN) as client:
        for number in range(count):
            header = f"Key{' ' * (HEADER_BYTES + number)}{KEY}"
            client.get("/models/v2/list/clusters", headers={"authorization": header})


@attack
def send_many_spellings_of_a_key(server: Server) -> None:
    spell_a_key_in_many_ways(server, 200)


def test_what_is_remembered_of_keys_does_not_grow_with_what_is_sent(server: Server):
    with measured(server) as cost:
        spell_a_key_in_many_ways(server, SPELLINGS)
    assert cost.most_bytes < SPELLINGS * HEADER_BYTES // 3, f"{cost.most_bytes / MIB:.0f} MiB"


@attack
def guess_keys(server: Server, forged: str = "x-nothing") -> list[int]:
    """The statuses of 200 guesses, each with another address in the forged header.

    As many as may be are sent together: a machine that is busy must not slow them down to what is allowed.
    """
    told = b""
    for start in range(0, 200, 50):
        guesses = "".join(
            f"GET /models/v2/list/clusters HTTP/1.1\r\nhost: a\r\nauthorization: Key {forged}-{n}\r\n"
            f"{forged}: 203.0.113.{n}\r\nconnection: {'close' if n == start + 49 else 'keep-alive'}\r\n\r\n"
            for n in range(start, start + 50)
        )
        with socket.create_connection(("127.0.0.1", server.port), timeout=REQUEST_S) as connection:
            connection.sendall(guesses.encode())
            with connection.makefile("rb") as answers:
                told += answers.read()
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", told)]
    assert len(statuses) == 200
    assert len(re.findall(rb"^retry-after: \d", told, re.MULTILINE)) == statuses.count(429)
    return statuses


def test_guessing_keys_is_slowed_and_keeps_nobody_out(server: Server):
    assert server.client.get("/models/v2/list/clusters").status_code == 200
    statuses = guess_keys(server)
    assert set(statuses) == {401, 429}, set(statuses)
    assert server.client.get("/models/v2/list/clusters").status_code == 200


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "x-real-ip"])
def test_nobody_is_believed_who_says_where_a_request_comes_from(server: Server, header: str):
    assert 429 in guess_keys(server, header)
