"""A server with two gateways: what one of them does holds for both, and one that dies takes only its own requests."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from tests.serving import ENDLESS, KEY, REQUEST_S, Server, is_alive, program_of, wait_until
from tests.tasks.comparison import assert_close

PROGRAM = "modelyard.serving.gateway_process"
MODEL = "tiny/classifier"
CONNECTIONS = 12
"""The kernel spreads connections over the gateways by chance: all of so many at one of two, once in 2048 times."""


class Gateway:
    """One gateway, and a connection that it has accepted."""

    def __init__(self, process: psutil.Process, connection: http.client.HTTPConnection) -> None:
        self.process = process
        self.connection = connection

    def call(self, method: str, path: str, body: Any = None, key: str = KEY) -> tuple[int, dict[str, str], Any]:
        """One call on that connection: status, headers, and the answer's JSON."""
        response = self.begin(method, path, body, key)
        data = response.read()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return response.status, headers, json.loads(data) if data else None

    def begin(self, method: str, path: str, body: Any = None, key: str = KEY) -> http.client.HTTPResponse:
        """The same, its answer unread."""
        headers = {"authorization": f"Key {key}", "content-type": "application/json"}
        self.connection.request(method, path, None if body is None else json.dumps(body), headers)
        return self.connection.getresponse()

    def run(self, model_id: str, key: str = KEY, **body: Any) -> tuple[int, dict[str, str], Any]:
        """Runs a model."""
        return self.call("POST", f"/models/v2/{model_id}", body, key)


def gateways_of(server: Server) -> list[psutil.Process]:
    """The processes that answer HTTP."""
    return [each for each in server.descendants() if PROGRAM in program_of(each)]


@contextmanager
def connected(server: Server) -> Iterator[list[Gateway]]:
    """A connection to each gateway: made while the others are stopped, so that only it can have answered."""
    with ExitStack() as stack:
        found = []
        processes = gateways_of(server)
        for process in processes:
            others = [each for each in processes if each != process]
            for other in others:
                other.suspend()
            try:
                found.append(Gateway(process, stack.enter_context(answered(server))))
            finally:
                for other in others:
                    other.resume()
        yield found


@contextmanager
def answered(server: Server) -> Iterator[http.client.HTTPConnection]:
    """One of many connections, on which something has been answered; the others are closed."""
    connections = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_S) for _ in range(CONNECTIONS)]
    try:
        for each in connections:
            each.request("GET", "/livez")

        def first() -> http.client.HTTPConnection | None:
            for each in connections:
                each.sock.setblocking(False)
                try:
                    if each.sock.recv(1, 2):  # MSG_PEEK
                        return each
                except BlockingIOError:
                    continue
                finally:
                    each.sock.settimeout(REQUEST_S)
            return None

        chosen: http.client.HTTPConnection = wait_until(first)
        for each in connections:
            if each is not chosen:
                each.close()
        chosen.getresponse().read()
        yield chosen
    finally:
        for each in connections:
            each.close()


@pytest.fixture(scope="module")
def server(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    flags = ("--gateways", "2", "--rate-limit", "0", "--billing-counts", "inference")
    server = Server(tmp_path_factory.mktemp("gateways"), zoo, *flags)
    server.command("accounts", "create", "narrow")
    server.command("accounts", "set", "narrow", "--max-concurrent", "1")
    server.command("accounts", "create", "paid")
    server.command("accounts", "credit", "paid", "10")
    with server:
        server.run(MODEL, text="warm")
        yield server


@pytest.fixture
def both(server: Server) -> Iterator[list[Gateway]]:
    with connected(server) as gateways:
        assert len(gateways) == 2
        yield gateways


def requests_counted(server: Server) -> float:
    """Inferences of the model that were answered, as the metrics tell."""
    lines = server.client.get("/metrics").text.splitlines()
    counts = [line for line in lines if line.startswith("modelyard_requests_total") and MODEL in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in counts if 'status="200"' in line)


def test_both_give_the_same_answers_and_are_counted_together(server: Server, both: list[Gateway]) -> None:
    counted, inferences = requests_counted(server), server.cluster(MODEL)["inferences"]
    answers = [gateway.run(MODEL, text="a cat")[2] for gateway in both for _ in range(3)]
    assert answers[0]["error"] is None
    for each in answers:  # but for the last bits: a model has now more threads, now fewer
        assert_close(each["output"], answers[0]["output"])
    assert server.cluster(MODEL)["inferences"] == inferences + 6
    wait_until(lambda: requests_counted(server) == counted + 6)
    streams = [gateway.begin("POST", "/models/v2/tiny/t5", stream_of(20)).read() for gateway in both]
    assert streams[0]
    assert streams[0] == streams[1]


def test_each_runs_on_cores_of_its_own(server: Server) -> None:
    gateways = [each for each in server.descendants() if "modelyard.serving.gateway_process" in program_of(each)]
    parts = [set(each.cpu_affinity() or ()) for each in gateways]
    cores = os.sched_getaffinity(0)
    assert sum(map(len, parts)) == len(cores) * (1 if len(cores) > 1 else len(parts))
    assert set().union(*parts) == cores


def stream_of(tokens: int) -> dict[str, Any]:
    params = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    return {"text": "the cat", "stream": True, "params": params}


def test_what_is_changed_through_one_is_so_through_the_other_at_once(both: list[Gateway]) -> None:
    one, other = both
    path = f"/models/v2/{MODEL}"
    for timeout in (700, 701, 702):
        assert one.call("PUT", path, {"timeout": timeout})[0] == 202
        assert other.call("GET", path)[2]["output"]["timeout"] == timeout
        one, other = other, one
    named = {"account": "admin", "name": "my/stand-in", "model": MODEL}
    assert one.call("PUT", "/admin/v1/aliases", named)[0] == 200
    assert other.run("my/stand-in", text="a cat")[0] == 200


def test_a_rate_limit_counts_requests_through_all(server: Server, both: list[Gateway]) -> None:
    key = server.command("keys", "create", "hurried", "--account", "hurried", "--rate-limit", "20")
    begun = time.monotonic()
    answers = [both[number % 2].run(MODEL, key, text="a cat") for number in range(30)]
    minutes = 1 + int((time.monotonic() - begun) // 60)
    counts = Counter(status for status, _, _ in answers)
    assert set(counts) <= {200, 429}
    assert 20 <= counts[200] <= 20 * minutes
    if minutes == 1:
        left = [int(headers["ratelimit-remaining"]) for status, headers, _ in answers if status == 200]
        assert left == [*range(19, -1, -1)]


def test_requests_at_once_are_counted_through_all(server: Server, both: list[Gateway]) -> None:
    key = server.command("keys", "create", "laptop", "--account", "narrow")
    model_id, endless = ENDLESS
    response = both[0].begin(
        "POST", f"/models/v2/{model_id}", {"text": "the cat", "stream": True, "params": endless}, key
    )
    assert response.read(1)
    assert both[1].run(MODEL, key, text="a cat")[0] == 429
    both[0].connection.close()
    assert wait_until(lambda: both[1].run(MODEL, key, text="a cat")[0] == 200)


def test_a_cold_model_boots_through_either(server: Server, both: list[Gateway]) -> None:
    for gateway in both:
        server.delete("tiny/gpt2")
        assert gateway.run("tiny/gpt2", text="the cat", params={"max_new_tokens": 2})[0] == 200


def test_a_replica_that_is_drained_stays_until_every_gateway_is_done_with_it(
    server: Server, both: list[Gateway]
) -> None:
    model_id, endless = ENDLESS
    path = f"/models/v2/{model_id}"
    assert both[0].call("PUT", path, {"capacity": {"min": 2, "desired": 2, "max": 2}})[0] == 202
    server.wait_for(model_id, ready=2)
    streams = [each.begin("POST", path, {"text": "the cat", "stream": True, "params": endless}) for each in both]
    assert all(each.read(1) for each in streams)
    assert both[0].process != both[1].process
    with server.client_of(KEY) as client:
        assert client.patch(path, json={"capacity": {"min": 1, "desired": 1, "max": 1}}).status_code == 200
    server.wait_for(model_id, ready=1)
    assert server.cluster(model_id)["instances"] == 2
    assert all(each.read(1) for each in streams), "a stream was broken off"
    for each in both:
        each.connection.close()
    server.wait_for(model_id, instances=1)
    wait_until(lambda: server.load() == (0, 0))
    server.delete(model_id)


class Load:
    """Requests of an account on many connections, one after the other on each, while the block runs. `answered`: what
    each cost by its id, in US dollars; `lost`: how many ended with their connection; `refused`: other answers."""

    def __init__(self, server: Server, key: str) -> None:
        self.answered: dict[str, str] = {}
        self.lost: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self._server = server
        self._headers = {"authorization": key, "content-type": "application/json"}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CONNECTIONS)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self) -> None:
        """Returns when some more have been answered."""
        reached = len(self.answered)
        wait_until(lambda: len(self.answered) > reached + 2 * CONNECTIONS)

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=REQUEST_S)
        while not self._stop.is_set():
            try:
                connection.request("POST", f"/models/v2/{MODEL}", '{"text": "a cat"}', self._headers)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                self.lost[type(error).__name__] += 1
                connection.close()
            else:
                if response.status == 200:
                    self.answered[response.headers["x-request-id"]] = response.headers["inference-cost"]
                else:
                    self.refused[response.status] += 1
        connection.close()


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.verify(part="load"))])
def test_one_that_is_killed_loses_its_own_requests_and_is_replaced(server: Server, kills: int) -> None:
    key = server.command("keys", "create", "laptop", "--account", "paid")
    with server.client_of(key) as client:
        assert client.post(f"/models/v2/{MODEL}", json={"text": "warm"}).status_code == 200
        before = client.get(f"/models/v2/{MODEL}").json()["output"]
        counted_before = client.get("/models/v2/usage").json()["output"]["total"]["requests"]
        with Load(server, key) as load:
            for _ in range(kills):  # more take minutes: who dies again and again is waited for longer each time
                load.goes_on()
                victim = min(gateways_of(server), key=psutil.Process.create_time)
                victim.send_signal(signal.SIGKILL)
                wait_until(lambda victim=victim: not is_alive(victim) and len(gateways_of(server)) == 2)
                load.goes_on()
        lost = sum(load.lost.values())
        assert not load.refused
        assert lost <= kills * 2 * CONNECTIONS
        wait_until(lambda: server.load() == (0, 0))
        wait_until(lambda: server.health()["underWay"] == 0)
        after = client.get(f"/models/v2/{MODEL}").json()["output"]
        assert (after["instances"], after["created"]) == (1, before["created"])
        assert 0 <= after["inferences"] - before["inferences"] - len(load.answered) <= lost

        for request_id, cost in [*load.answered.items()][:: max(1, len(load.answered) // 20)]:
            record = client.get(f"/models/v2/usage/{request_id}").json()["output"]
            assert (record["outcome"], record["cost"]) == ("answered", pytest.approx(float(cost)))
        total = client.get("/models/v2/usage").json()["output"]["total"]
        assert 0 <= total["requests"] - counted_before - len(load.answered) <= lost
    with closing(sqlite3.connect(server.data_dir / "modelyard.db")) as database:
        unsettled = "SELECT count(*) FROM requests WHERE settled_at IS NULL"
        charged = (
            "SELECT sum(charged_nano) FROM requests WHERE account_id = (SELECT id FROM accounts WHERE name = 'paid')"
        )
        assert database.execute(unsettled).fetchone() == (0,)
        assert database.execute(charged).fetchone() == (total["costNano"],)


def test_none_of_its_processes_is_left_at_its_end(server: Server) -> None:
    """The last test of this server."""
    processes = server.descendants()
    assert len(gateways_of(server)) == 2
    said = len(server.log.read_text())
    server.stop()
    assert server.process is not None
    assert server.process.returncode == 0
    wait_until(lambda: not any(is_alive(each) for each in processes))
    server.start(warm=False, boots=False)
    assert not re.search("Traceback|ERROR", server.log.read_text()[said:])
    gateways = gateways_of(server)
    assert len(gateways) == 2
    server.kill()
    wait_until(lambda: not any(is_alive(each) for each in gateways))
