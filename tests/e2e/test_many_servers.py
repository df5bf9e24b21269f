"""Several servers on one PostgreSQL: each answers every call, whichever leads, stops or dies."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from tests.serving import KEY, REQUEST_S, wait_until
from tests.serving.many import MODEL, Many, OneServer

FOLLOWED_S = 3.0


@pytest.fixture
async def many(tmp_path: Path, postgresql_url: str) -> AsyncIterator[Many]:
    many = Many(tmp_path, postgresql_url)
    try:
        yield many
    finally:
        await many.close()


def open_stream(server: OneServer) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream that has begun, and goes on until its client leaves."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_S)
    body = json.dumps({"text": "hold this", "stream": True})
    connection.request("POST", f"/models/v2/{MODEL}", body, {"authorization": KEY, "content-type": "application/json"})
    response = connection.getresponse()
    assert response.read(4) == b"hold"
    return connection, response


def is_open(connection: http.client.HTTPConnection) -> bool:
    """Whether nothing has come, not even an end."""
    connection.sock.setblocking(False)
    try:
        connection.sock.recv(1)
    except BlockingIOError:
        return True
    finally:
        connection.sock.settimeout(REQUEST_S)
    return False


async def test_a_server_that_leads_and_dies_takes_nothing_of_others_along(many: Many) -> None:
    await many.up(2, "node")
    leader = many.leader()
    (other,) = (each for each in many.servers if each is not leader)
    capacity = {"min": 2, "desired": 2, "max": 2}  # what is held keeps one of them from everything else
    assert other.client.put(f"/models/v2/{MODEL}", json={"capacity": capacity}).status_code == 202
    assert leader.client.get(f"/models/v2/{MODEL}").json()["output"]["capacity"] == capacity
    wait_until(lambda: len(many.workers()) == 2)
    assert [each.run("hello").json()["output"] for each in (leader, other)] == ["hello", "hello"]
    made = leader.client.post("/admin/v1/keys", json={"name": "laptop", "account": "admin"})
    assert made.status_code < 300, made.text
    workers = [each.pid for each in many.workers()]
    connection, _ = open_stream(other)
    wait_until(lambda: leader.under_way() == other.under_way() == (1, 1, 0))

    leader.kill()
    began = time.monotonic()
    assert other.run("still there").json()["output"] == "still there"
    took_s = time.monotonic() - began
    print(f"answered {took_s:.2f} s after the leader's death")
    assert took_s <= FOLLOWED_S
    assert many.leader() is other
    assert is_open(connection)
    wait_until(lambda: other.under_way() == (1, 1, 0))
    assert [each.pid for each in many.workers()] == workers
    connection.close()
    wait_until(lambda: other.under_way() == (0, 0, 0))

    leader.start()
    leader.up()
    assert many.leader() is other
    assert leader.run("back").json()["output"] == "back"
    assert other.end() == 0
    assert leader.run("alone").json()["output"] == "alone"
    assert [each.pid for each in many.workers()] == workers
    with psycopg.connect(many.database_url) as database:
        assert database.execute("SELECT ready_at IS NOT NULL, ended_at FROM instances").fetchall() == 2 * [(True, None)]


async def test_a_leader_that_is_stopped_answers_again_when_it_follows_the_next_one(many: Many) -> None:
    await many.up(2, "node")
    leader = many.leader()
    (other,) = (each for each in many.servers if each is not leader)
    assert leader.run("hello").status_code == 200
    workers = [each.pid for each in many.workers()]

    leader.signal(signal.SIGSTOP)
    began = time.monotonic()
    assert other.run("still there").json()["output"] == "still there"
    assert time.monotonic() - began <= FOLLOWED_S
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(leader.run("late").json()["output"]))
    asking.start()
    leader.signal(signal.SIGCONT)
    await asyncio.to_thread(asking.join)

    assert answers == ["late"]
    assert many.leader() is other
    assert [each.pid for each in many.workers()] == workers
    wait_until(lambda: leader.under_way() == other.under_way() == (0, 0, 0))
    other.signal(signal.SIGSTOP)
    assert leader.run("again").json()["output"] == "again"
    other.signal(signal.SIGCONT)
    wait_until(other.answers)
    with psycopg.connect(many.database_url) as database:
        assert database.execute("SELECT ended_at FROM instances").fetchall() == [(None,)]
