"""Connections without a key: endless headers, slow ones of every kind, and as many of them as there can be."""

from __future__ import annotations

import http.client
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from tests.attacks.memory import MIB, cpu_s, measured
from tests.attacks.registry import attack
from tests.attacks.test_strangers import guess_keys
from tests.serving import KEY, PLAIN, REQUEST_S, Server, wait_until

PIECE = b"a" * 65536
MOST_TAKEN = 8 * MIB
"""What an endless request may bring before it is cut off: socket buffers, and what is still taken after an answer."""
MOST_KEPT = 48 * 1024
"""What a connection without a key may cost in memory, on average; measured: 8 KiB."""
MOST_CPU_S = 0.02
"""What slow connections may add to the server's CPU time per keyed request; measured: 0.001 s for 300 of them."""
START = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"
CHUNKED = b"POST /nothing/here HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
WAITING = b"GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n" * 3
EXPECTING = b"POST /models/v2/a/b HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\na"
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
    return socket.create_connection(("127.0.0.1", server.port), timeout=REQUEST_S)


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


@pytest.mark.parametrize("kind", ENDLESS)
def test_what_is_refused_behind_requests_under_way_is_no_error_of_the_server(server: Server, kind: str):
    start, piece = ENDLESS[kind]
    before = server.log.read_text().count("Traceback")
    for waiting in (b"", WAITING, EXPECTING):
        send_until_cut_off(server, waiting + start, piece, 2 * MIB)
    assert server.client.get("/health").status_code == 200
    assert server.log.read_text().count("Traceback") == before, server.log.read_text()[-3000:]


@pytest.mark.parametrize("offer", ["", "connection: upgrade\r\nupgrade: h2c\r\n"])
def test_a_body_whose_end_nobody_can_tell_is_refused_and_what_follows_is_not_read(server: Server, offer: str):
    request = f"POST /nothing HTTP/1.1\r\nhost: localhost\r\n{offer}transfer-encoding: 0\r\n\r\n"
    with connect(server) as client:
        client.sendall(request.encode() + START + b"\r\n")
        client.shutdown(socket.SHUT_WR)
        answers = b"".join(iter(partial(client.recv, 65536), b""))
    assert answers.startswith(b"HTTP/1.1 400")
    assert answers.count(b"content-length: ") == 1


def test_headers_within_the_limits_are_read(server: Server):
    headers = {f"x-{number}": "a" * 500 for number in range(80)}
    assert httpx.get(f"{server.url}/health", headers=headers, timeout=REQUEST_S, verify=PLAIN).status_code == 200


@pytest.fixture(scope="module")
def hasty(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ["--header-timeout-s", "2", "--body-timeout-s", "2", "--keep-alive-s", "2"]
    flags += ["--trusted-proxies", "127.0.0.1"]
    with Server(tmp_path_factory.mktemp("hasty"), zoo, *flags, boots=False) as server:
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

        wait_until(send_more, every_s=0.1)


def test_an_idle_connection_is_closed(hasty: Server):
    with connect(hasty) as client:
        client.sendall(START + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        wait_until(lambda: is_closed(client))


@pytest.fixture(scope="module")
def narrow(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Takes few connections, and closes none of them by its deadlines while a test lasts; believes a proxy here that
    says in a header of its own where requests come from."""
    flags = ["--max-connections", "60", "--header-timeout-s", "600", "--keep-alive-s", "600"]
    flags += ["--trusted-proxies", "127.0.0.1", "--proxy-header", "CF-Connecting-IP"]
    with Server(tmp_path_factory.mktemp("narrow"), zoo, *flags, boots=False) as server:
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
        wait_until(lambda: is_closed(first))  # sooner than by its deadline
        assert not is_closed(rest[-1])
        assert ask_with_key(keyed) == 200
        assert keyed.sock is connection


def test_a_trusted_proxy_says_where_requests_come_from(hasty: Server):
    assert set(guess_keys(hasty, "x-forwarded-for")) == {401}


def test_a_proxy_is_believed_in_its_own_header_only(narrow: Server):
    assert 429 in guess_keys(narrow, "x-forwarded-for")
    assert set(guess_keys(narrow, "cf-connecting-ip")) == {401}


def open_slow(port: int, start: bytes) -> socket.socket | None:
    """A connection that has sent how its kind begins; None when there was none to be had."""
    client = socket.socket()
    client.settimeout(1.0)
    try:
        client.connect(("127.0.0.1", port))
    except OSError:
        client.close()
        return None
    write(client, start)
    return client


@attack
def open_slow_connections(server: Server) -> None:
    """Fifty of every kind at once, which their client closes."""
    with ExitStack() as stack:
        for start, piece in [*SLOW.values()] * 50:
            if (client := open_slow(server.port, start)) is not None:
                stack.enter_context(client)
                write(client, piece)
        assert server.client.get("/health").status_code == 200


def hold_slow_connections(port: int, count: int) -> None:
    """So many connections without a key, of every slow kind in turn, each opened again once closed; never ends."""
    kinds = list(SLOW.values())
    clients: list[socket.socket | None] = [None] * count
    while True:
        for number, client in enumerate(clients):
            if number % 50 == 0:
                time.sleep(0.05)
            start, piece = kinds[number % len(kinds)]
            if client is None:
                clients[number] = open_slow(port, start)
                continue
            if piece:
                write(client, piece)
            if b"openapi" not in start and is_closed(client):
                client.close()
                clients[number] = None


@contextmanager
def slow_connections(server: Server, count: int) -> Iterator[None]:
    """`hold_slow_connections` in a process of its own, so that who measures does not wait for it."""
    spawn = multiprocessing.get_context("spawn")
    attacker = spawn.Process(target=hold_slow_connections, args=(server.port, count), daemon=True)
    attacker.start()
    try:
        yield
    finally:
        attacker.kill()
        attacker.join()


@dataclass(frozen=True)
class Figures:
    """Of requests with a key at 20 a second: what they took, and the CPU time the server needed meanwhile for each."""

    p99_s: float
    cpu_s: float


def ask_steadily(server: Server, seconds: float) -> Figures:
    """Requests to a tiny classifier, all of which must be answered."""
    process = process_of(server)
    took = []
    cpu_before = cpu_s(process)
    begun = time.perf_counter()
    for number in range(int(20 * seconds)):
        time.sleep(max(0.0, begun + number / 20 - time.perf_counter()))
        asked = time.perf_counter()
        server.run("tiny/classifier", text="good")
        took.append(time.perf_counter() - asked)
    each_cpu_s = (cpu_s(process) - cpu_before) / len(took)
    return Figures(sorted(took)[int(len(took) * 0.99)], each_cpu_s)


def process_of(server: Server) -> psutil.Process:
    assert server.process is not None
    return psutil.Process(server.process.pid)


def ask_among_slow_connections(server: Server, count: int, seconds: float) -> tuple[Figures, Figures]:
    """The figures idle and attacked; checks what the connections cost in memory."""
    process = process_of(server)
    server.run("tiny/classifier", text="warm")
    idle = ask_steadily(server, seconds)
    before = process.memory_info().rss
    with slow_connections(server, count):
        wait_until(lambda: len(server.sockets()) > count * 0.8, every_s=0.5)
        attacked = ask_steadily(server, seconds)
        more_bytes = process.memory_info().rss - before
    print(f"idle {idle}, attacked {attacked}, memory +{more_bytes / MIB:.0f} MiB")
    assert more_bytes <= count * MOST_KEPT
    return idle, attacked


def test_slow_connections_hurt_nobody(server: Server):
    idle, attacked = ask_among_slow_connections(server, 300, 3.0)
    assert attacked.cpu_s <= idle.cpu_s + MOST_CPU_S


@pytest.mark.verify(part="attacks")
def test_two_thousand_slow_connections_hurt_nobody(server: Server):
    idle, attacked = ask_among_slow_connections(server, 2_000, 60.0)
    assert attacked.p99_s <= max(3 * idle.p99_s, idle.p99_s + 0.02)
