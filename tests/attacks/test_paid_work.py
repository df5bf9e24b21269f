"""Work that nobody waits for any more: it is paid for and holds its place until its replica has let go of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

from tests.attacks.conftest import CANCEL_GRACE_S
from tests.attacks.registry import attack
from tests.serving import KEY, REQUEST_S, Server, wait_until

MODEL = "tiny/gpt2"
LONG = {"max_new_tokens": 100, "min_new_tokens": 100, "do_sample": False}
HELD_S = 1.5
GRACE_S = CANCEL_GRACE_S
TRIES_BESIDE_OTHER_WORK = 3
"""On a busy machine an answer may be read later than it was given; not every time."""


@pytest.fixture(scope="module")
def paid(zoo: Path, attacked_server: Server) -> Iterator[Server]:
    """A server that bills the time of requests, and ends replicas that go on without being asked to."""
    with attacked_server.with_models(zoo) as running:
        yield running


@pytest.fixture(autouse=True)
def one_replica(paid: Server) -> Iterator[None]:
    paid.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1})
    paid.wait_for(MODEL, status="running", ready=1)
    yield
    paid.delete(MODEL)


def request_long_work(server: Server) -> HTTPConnection:
    """A request under way."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_S)
    body = json.dumps({"text": "the cat", "params": LONG})
    connection.request("POST", f"/models/v2/{MODEL}", body, {"authorization": KEY})
    return connection


@attack
def leave_requests(server: Server) -> None:
    """Each as soon as it was sent."""
    for _ in range(10):
        request_long_work(server).close()
    wait_until(lambda: server.load() == (0, 0))
    server.delete(MODEL)


@contextmanager
def left_in_the_middle(server: Server) -> Iterator[int]:
    """The worker of a request whose client has left; it does nothing meanwhile, as in the middle of a long pass."""
    pid = server.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        connection = request_long_work(server)
        wait_until(lambda: server.load()[0] == 1)
        connection.close()
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def frozen(server: Server) -> Iterator[int]:
    """A worker that does nothing meanwhile, as one whose model is stuck."""
    pid = server.worker_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def paid_for(server: Server) -> tuple[int, float]:
    """The requests on the account's bill, and the seconds they took."""
    response = server.client.get("/models/v2/usage")
    assert response.status_code == 200, response.text
    total = response.json()["output"]["total"]
    return total["requests"], total["inferenceSeconds"]


def test_work_that_was_dropped_is_paid_for_until_its_replica_lets_go(paid: Server) -> None:
    requests, seconds = paid_for(paid)
    before = time.monotonic()
    with left_in_the_middle(paid):
        left = time.monotonic()

        def is_held_long_enough() -> bool:
            # What is seen within the grace is its slot, taken: nobody else is sent there.
            assert paid.load()[0] == 1 or time.monotonic() >= before + GRACE_S
            return time.monotonic() >= left + HELD_S

        wait_until(is_held_long_enough, every_s=0.05)
    wait_until(lambda: paid.load() == (0, 0))
    wait_until(lambda: paid_for(paid)[0] == requests + 1)
    assert paid_for(paid)[1] - seconds >= HELD_S


def test_a_replica_that_goes_on_with_cancelled_work_is_ended_and_that_is_said(paid: Server) -> None:
    requests, seconds = paid_for(paid)
    with left_in_the_middle(paid) as pid:
        wait_until(lambda: not psutil.pid_exists(pid))
    assert paid.run(MODEL, text="the", params={"max_new_tokens": 1}).startswith("the")
    wait_until(lambda: paid.load() == (0, 0))
    assert any("went on for 2 s with a request that was cancelled" in line for line in paid.events(MODEL))
    wait_until(lambda: paid_for(paid)[0] == requests + 2)
    assert paid_for(paid)[1] - seconds >= GRACE_S


def test_a_client_that_leaves_with_another_request_on_its_connection_has_left_both(paid: Server) -> None:
    body = json.dumps({"text": "the cat", "params": LONG})
    head = f"POST /models/v2/{MODEL} HTTP/1.1\r\nhost: x\r\nauthorization: {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    with frozen(paid) as pid:
        with socket.create_connection(("127.0.0.1", paid.port)) as client:
            client.sendall(f"{head}{body}GET /health HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            wait_until(lambda: paid.load()[0] == 1)
        wait_until(lambda: not psutil.pid_exists(pid))
    wait_until(lambda: paid.load() == (0, 0))


@pytest.mark.parametrize("allow", ["header", "body"])
def test_a_request_has_a_deadline_and_its_neighbours_are_served_elsewhere(paid: Server, allow: str) -> None:
    headers, field = ({"x-request-timeout": "1"}, {}) if allow == "header" else ({}, {"timeout": 1})
    # Told at the deadline, not when the replica had let go.
    assert any(is_told_before_its_replica_ends(paid, headers, field) for _ in range(TRIES_BESIDE_OTHER_WORK))
    assert any("request that was cancelled" in line for line in paid.events(MODEL))


def is_told_before_its_replica_ends(paid: Server, headers: dict[str, str], field: dict[str, int]) -> bool:
    """Runs a request into its deadline of a second, beside a neighbour that must be served elsewhere."""
    with frozen(paid) as pid, ThreadPoolExecutor() as pool:
        neighbour = pool.submit(paid.post, MODEL, text="the dog", params={"max_new_tokens": 2})
        response = paid.post(MODEL, headers, text="the cat", params=LONG, **field)
        is_in_time = psutil.pid_exists(pid)
        assert response.status_code == 504, response.text
        error = response.json()["error"]
        assert re.match(r"The request was not done within the 1 s it may take: \d\.\d s passed before a replica", error)
        assert "x-request-timeout" in error
        answer = neighbour.result(120)
        assert answer.status_code == 200, answer.text
        assert answer.json()["output"].startswith("the dog")
        assert not psutil.pid_exists(pid)
    wait_until(lambda: paid.load() == (0, 0))
    return is_in_time


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "soon"])
def test_a_deadline_is_a_number_of_seconds(paid: Server, timeout: str) -> None:
    response = paid.post(MODEL, {"x-request-timeout": timeout}, text="the")
    assert response.status_code == 422, response.text
    assert response.json()["error"].startswith("x-request-timeout: got ")
