"""A worker that sends what it likes, and clients that do not read what a model makes for them."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from tests.attacks.memory import MIB, measured
from tests.attacks.registry import attack, attack_on
from tests.builders import build
from tests.serving import KEY, Server, wait_until

HOSTILE = "hostile/gpt2"
UNSAFE = (HOSTILE,)
FLOOD = '''
import os, select, socket, threading
from transformers import GPT2Config, GPT2LMHeadModel

TEXT = b"\\xdb" + (60000).to_bytes(4, "big") + b"x" * 60000


def connections():
    for name in os.listdir("/proc/self/fd"):
        try:
            found = socket.socket(fileno=os.dup(int(name)))
            listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if found.family == socket.AF_UNIX and found.getsockname() and not listens:
                yield found
        except OSError:
            continue


def flood(connection):
    """Pieces for whichever of the first requests there is, 400 MB of them."""
    frames = [b"\\x93\\x03" + bytes([number]) + TEXT for number in (2, 3, 4)]
    data = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    try:
        for _ in range(6500):
            left = memoryview(data)
            while left:
                select.select([], [connection], [])
                try:
                    left = left[connection.send(left):]
                except BlockingIOError:
                    continue
    except OSError:
        return


class HostileConfig(GPT2Config):
    model_type = "hostile"


class HostileModel(GPT2LMHeadModel):
    config_class = HostileConfig

    def forward(self, *arguments, **named):
        if not hasattr(self, "_floods"):
            self._floods = [threading.Thread(target=flood, args=(each,)) for each in connections()]
            for each in self._floods:
                each.start()
            for each in self._floods:
                each.join()
        return super().forward(*arguments, **named)
'''


def write_model(models: Path) -> None:
    """The model whose own code floods."""
    folder = models / HOSTILE
    build("gpt2", folder)
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "flood.HostileConfig", "AutoModelForCausalLM": "flood.HostileModel"}
    config |= {"model_type": "hostile", "architectures": ["HostileModel"], "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "README.md").write_text("---\npipeline_tag: text-generation\n---\n")
    (folder / "flood.py").write_text(FLOOD)


@pytest.fixture(scope="module")
def hostile_server(zoo: Path, attacked_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("hostile")
    write_model(models)
    (models / "tiny").symlink_to(zoo / "tiny")
    with attacked_server.with_models(models) as server:
        server.run("tiny/gpt2", text="warm", params={"max_new_tokens": 2})
        yield server


@contextmanager
def unread(server: Server, path: str, body: bytes) -> Iterator[socket.socket]:
    """A request whose answer nobody reads."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Key {KEY}\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        yield connection


@contextmanager
def flooded(server: Server) -> Iterator[int]:
    """The worker that floods, while nobody reads the answer of its one request."""
    body = json.dumps({"text": "a", "stream": True, "params": {"max_new_tokens": 4}}).encode()
    others = set(server.worker_pids())
    server.put(HOSTILE, capacity={"min": 1, "desired": 1, "max": 1})
    server.wait_for(HOSTILE, status="running")
    (pid,) = set(server.worker_pids()) - others
    with unread(server, f"/models/v2/{HOSTILE}", body):
        yield pid


@attack_on(write_model, unsafe=HOSTILE)
def flood_the_server(server: Server) -> None:
    with flooded(server) as pid:
        wait_until(lambda: not psutil.pid_exists(pid))
    server.delete(HOSTILE)


def test_a_worker_that_floods_its_server_is_cut_off_and_costs_no_memory(hostile_server: Server):
    with measured(hostile_server) as cost, flooded(hostile_server) as pid:
        wait_until(lambda: not psutil.pid_exists(pid) or cost.most_bytes > 250 * MIB)
    assert cost.most_bytes < 64 * MIB, f"{cost.most_bytes // MIB} MiB"
    assert hostile_server.run("tiny/gpt2", text="a", params={"max_new_tokens": 2})
    wait_until(lambda: any("its connection was closed" in event for event in hostile_server.events(HOSTILE)))
    assert hostile_server.delete(HOSTILE).status_code == 200


def ask_for_large_answers(server: Server, stack: ExitStack) -> list[socket.socket]:
    """Requests whose answers, 8 MB each, are larger than what lies between server and client takes; nobody reads."""
    word = "a" * 500_000  # more than a word has, so that it is no work
    body = json.dumps({"text": [word] * 16, "candidate_labels": ["a"]}).encode()
    return [stack.enter_context(unread(server, "/models/v2/tiny/nli", body)) for _ in range(2)]


@attack
def leave_answers_unread(server: Server) -> None:
    """Until the last of them has been made."""
    with ExitStack() as stack:
        ask_for_large_answers(server, stack)
        assert server.run("tiny/nli", text="the cat", candidate_labels=["a"])


def test_clients_that_do_not_read_are_cut_off_and_their_neighbours_go_on(hostile_server: Server):
    def cut_off() -> int:
        return hostile_server.log.read_text().count("did not read its answer")

    before = cut_off()
    with ExitStack() as stack:
        connections = ask_for_large_answers(hostile_server, stack)
        assert hostile_server.run("tiny/nli", text="the cat", candidate_labels=["a"])
        wait_until(lambda: cut_off() >= before + len(connections))
        wait_until(lambda: hostile_server.load() == (0, 0))
        for connection in connections:
            assert is_cut_off(connection)


def is_cut_off(connection: socket.socket) -> bool:
    """Whether an answer ends before it is whole; reads what there is of it."""
    connection.settimeout(120.0)
    answer = b""
    while not is_whole(answer):
        try:
            piece = connection.recv(65536)
        except ConnectionError:
            return True
        if not piece:
            return True
        answer += piece
    return False


def is_whole(answer: bytes) -> bool:
    """Whether the header is there, and a body of the length that it tells."""
    head, end, body = answer.partition(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(end) and len(body) >= int(lengths[0].partition(b":")[2])
