"""Connections without a key: endless headers, slow ones of every kind, and as many of them as there can be."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import pytest

from tests.attacks.memory import MIB, measured
from tests.attacks.registry import attack
from tests.attacks.test_strangers import guess_keys
from tests.serving import KEY, Server, wait_until

PIECE = b"a" * 65536
MOST_TAKEN = 8 * MIB
"""What an endless request may bring before it is cut off: socket buffers, and what is still taken after an answer."""
START = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = b"POST /nothing/here HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
ENDLESS = {
    "one header": (START + b"a: ", PIECE),
    "a header's name": (START, PIECE),
    "many headers": (START, b"a: b\r\n" * 4000),
    "request line": (b"GET /", PIECE),
    "empty lines": (b"", b"\r\n" * 32768),
    "chunk extension": (CHUNKED + b"1;", PIECE),
    "one trailer": (CHUNKED + b"1\r\na\r\n0\r\na: ", PIECE),
    "many trailers": (CHUNKED + b"1\r\na\r\n0\r\n", b"a: b\r\n" * 4000),
    "requests whose answers nobody reads": (b"", b"GET /docs HTTP/1.1\r\nhost: localhost\r\n\r\n" * 500),
}
SLOW = {
    "silent": (b"", b""),
    "half a header": (START, b""),
    "header, a byte at a time": (START, b"a"),
    "half a body": (CHUNKED + b"1\r\na\r\n", b""),
    "body, a byte at a time": (CHUNKED, b"1\r\na\r\n"),
    "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""),
    "answers not read": (b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 20, b""),
}


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=30.0)


def send_until_cut_off(server: Server, start: bytes, piece: bytes, most_bytes: int = 64 * MIB) -> tuple[int, bytes]:
    """How many bytes the server took of an endless request, and the first line of its answer."""
    taken = 0
    with connect(server) as client:
        client.settimeout(5.0)
        with suppress(OSError):  # cut off, or no longer read: what was wanted
            client.sendall(start)
            while taken < most_bytes:
                client.sendall(piece)
                taken += len(piece)
        try:
            answer = client.recv(65536)
        except OSError:
            answer = b""
    return taken, answer.partition(b"\r\n")[0]


def send_a_little_too_much(server: Server, start: bytes, piece: bytes) -> bytes:
    """The first line of the answer to twice what is allowed, sent by a client that then reads."""
    with connect(server) as client:
        client.sendall(start + piece * (1 + 2 * 65536 // len(piece)))
        return client.recv(65536).partition(b"\r\n")[0]


@attack
def send_endless_headers(server: Server) -> None:
    for start, piece in ENDLESS.values():
        send_until_cut_off(server, start, piece, 16 * MIB)


@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_request_is_cut_off_and_costs_no_memory(server: Server, kind: str):
    start, piece = ENDLESS[kind]
    with measured(server) as cost:
        taken, _ = send_until_cut_off(server, start, piece)
    wait_s = max(cost.waits_s, default=0.0)
    figures = f"{taken // MIB} MiB taken, {cost.most_bytes // MIB} MiB held, others waited {wait_s:.2f} s"
    assert taken <= MOST_TAKEN, figures
    assert cost.most_bytes <= 24 * MIB, figures


@pytest.mark.parametrize("kind", ["one header", "a header's name", "many headers", "request line", "one trailer"])
def test_a_header_that_is_too_large_gets_431(server: Server, kind: str):
    assert send_a_little_too_much(server, *ENDLESS[kind]) == b"HTTP/1.1 431 Request Header Fields Too Large"


def test_headers_within_the_limits_are_read(server: Server):
    headers = {f"x-{number}": "a" * 500 for number in range(80)}
    assert httpx.get(f"{server.url}/health", headers=headers).status_code == 200


@pytest.fixture(scope="module")
def hasty(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ["--header-timeout-s", "2", "--body-timeout-s", "2", "--keep-alive-s", "2"]
    flags += ["--trusted-proxies", "127.0.0.1"]
    with Server(tmp_path_factory.mktemp("hasty"), zoo, *flags) as server:
        yield server


def is_closed(client: socket.socket) -> bool:
    """Whether the server has closed the connection; reads what it has sent."""
    client.setblocking(False)
    try:
        return client.recv(65536) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def write(client: socket.socket, data: bytes) -> None:
    """Sends what the connection takes at the moment."""
    client.setblocking(False)
    try:
        client.send(data)
    except OSError:
        return


@pytest.mark.parametrize("kind", [kind for kind in SLOW if kind != "answers not read"])
def test_a_slow_connection_is_closed(hasty: Server, kind: str):
    start, piece = SLOW[kind]
    with connect(hasty) as client:
        client.sendall(start)

        def send_more() -> bool:
            if is_closed(client):
                return True
            if piece:
                write(client, piece)
            return False

        wait_until(send_more, 15.0, every_s=0.1)


def test_an_idle_connection_is_closed(hasty: Server):
    with connect(hasty) as client:
        client.sendall(START + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        wait_until(lambda: is_closed(client), 15.0)


@pytest.fixture
def narrow(zoo: Path, tmp_path: Path) -> Iterator[Server]:
    """Takes few connections, and closes none of them by its deadlines while a test lasts."""
    with Server(tmp_path, zoo, "--max-connections", "60") as server:
        yield server


def ask_with_key(client: http.client.HTTPConnection) -> int:
    client.request("GET", "/models/v2/list/clusters", headers={"authorization": f"Key {KEY}"})
    response = client.getresponse()
    response.read()
    return response.status


def test_beyond_the_bound_the_oldest_without_a_key_is_closed(narrow: Server):
    with ExitStack() as stack:
        keyed = http.client.HTTPConnection("127.0.0.1", narrow.port)
        stack.callback(keyed.close)
        assert ask_with_key(keyed) == 200
        connection = keyed.sock
        first = stack.enter_context(connect(narrow))
        rest = [stack.enter_context(connect(narrow)) for _ in range(80)]
        wait_until(lambda: is_closed(first), 15.0)  # sooner than by its deadline
        assert not is_closed(rest[-1])
        assert ask_with_key(keyed) == 200
        assert keyed.sock is connection


def test_a_trusted_proxy_says_where_requests_come_from(hasty: Server):
    assert set(guess_keys(hasty, "x-forwarded-for")) == {401}


@contextmanager
def slow_connections(server: Server, count: int) -> Iterator[None]:
    """So many connections without a key, of every slow kind in turn, each opened again once it is closed."""
    ended = threading.Event()
    kinds = list(SLOW.values())

    def opened(number: int) -> socket.socket | None:
        client = socket.socket()
        client.settimeout(1.0)
        try:
            client.connect(("127.0.0.1", server.port))
        except OSError:
            client.close()
            return None
        write(client, kinds[number % len(kinds)][0])
        return client

    def run() -> None:
        clients: list[socket.socket | None] = [None] * count
        while not ended.is_set():
            for number, client in enumerate(clients):
                if number % 50 == 0 and ended.wait(0.05):
                    break
                if client is None:
                    clients[number] = opened(number)
                    continue
                start, piece = kinds[number % len(kinds)]
                if piece:
                    write(client, piece)
                if b"openapi" not in start and is_closed(client):
                    client.close()
                    clients[number] = None
        for client in clients:
            if client is not None:
                client.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def ask_steadily(server: Server, seconds: float) -> float:
    """The 99th percentile of what requests to a tiny classifier take at 20 a second, in seconds."""
    took = []
    begun = time.perf_counter()
    for number in range(int(20 * seconds)):
        time.sleep(max(0.0, begun + number / 20 - time.perf_counter()))
        asked = time.perf_counter()
        server.run("tiny/classifier", text="good")
        took.append(time.perf_counter() - asked)
    return sorted(took)[int(len(took) * 0.99)]


def check_slow_connections_hurt_nobody(server: Server, count: int, seconds: float) -> None:
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    server.run("tiny/classifier", text="warm")
    idle_s = ask_steadily(server, seconds)
    before = process.memory_info().rss
    with slow_connections(server, count):
        wait_until(lambda: len(process.net_connections()) > count * 0.8, 60.0, every_s=0.5)
        busy_s = ask_steadily(server, seconds)
        more_bytes = process.memory_info().rss - before
    figures = f"p99 idle {idle_s * 1e3:.1f} ms, attacked {busy_s * 1e3:.1f} ms, memory +{more_bytes / MIB:.0f} MiB"
    print(figures)
    assert busy_s <= max(3 * idle_s, idle_s + 0.02), figures
    assert more_bytes < 100 * MIB, figures


def test_slow_connections_hurt_nobody(server: Server):
    check_slow_connections_hurt_nobody(server, 300, 3.0)


@pytest.mark.verify(part="attacks")
def test_two_thousand_slow_connections_hurt_nobody(server: Server):
    check_slow_connections_hurt_nobody(server, 2_000, 60.0)
