"""Several servers on one PostgreSQL, with TLS between them: each answers every call, whichever leads, stops or dies."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.certificates import make_authority, make_certificate
from tests.serving import KEY, PLAIN, REQUEST_S, wait_until
from tests.serving.killed import (
    FOLLOWED_S,
    Load,
    disturb_all,
    disturb_every_5_s,
    go_on_without,
    is_open,
    lose_nothing,
    open_stream,
    two_replicas,
)
from tests.serving.many import MODEL, Many, OneServer
from tests.store.postgresql import create_schema, url_of_schema

CONSOLE = {"x-modelyard-console": "1", "sec-fetch-site": "same-origin"}
"""What a page of the console sends besides."""


@pytest.fixture(scope="module")
async def all_servers(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> AsyncIterator[Many]:
    folder, url = tmp_path_factory.mktemp("servers"), url_of_schema(postgresql_server, create_schema(postgresql_server))
    many = Many(folder, url, make_certificate(folder, make_authority(folder)))
    try:
        yield many
    finally:
        await many.close()


@pytest.fixture
async def many(all_servers: Many) -> Many:
    """Two servers and two nodes, and no cluster."""
    one, _ = await all_servers.up(2, "node-0", "node-1")
    assert one.client.delete(f"/models/v2/{MODEL}").status_code in (200, 404)
    wait_until(lambda: not all_servers.workers() and not all_servers.open_lives())
    return all_servers


async def test_a_server_that_leads_and_dies_takes_nothing_of_others_along(many: Many) -> None:
    leader = many.leader()
    (other,) = (each for each in many.servers if each is not leader)
    await two_replicas(many)
    lives = many.open_lives()
    assert [each.run("hello").json()["output"] for each in (leader, other)] == ["hello", "hello"]
    made = leader.client.post("/admin/v1/keys", json={"name": "laptop", "account": "admin"})
    assert made.status_code < 300, made.text
    for here, elsewhere in ((leader, other), (other, leader)):  # a file that a model has made on one of them
        name = f"{'a' * 31}{elsewhere.number}.png"
        (many.folder / f"data-{elsewhere.number}" / "artefacts" / name).write_bytes(b"made")
        assert here.client.get(f"/artefacts/{name}").content == b"made"
    sessions = [sign_in(each) for each in (leader, other)]
    assert [status for session in sessions for each in (leader, other) for status in use(session, each)] == [200] * 8
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
    assert [status for session in sessions for status in use(session, other)] == [200] * 4
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
    assert many.open_lives() == lives


def sign_in(server: OneServer) -> httpx.Cookies:
    """A session of the console, opened through this server."""
    answer = httpx.post(f"{server.url}/console/session", json={"key": KEY}, headers=CONSOLE, verify=PLAIN)
    assert answer.status_code == 200, answer.text
    return answer.cookies


def use(session: httpx.Cookies, server: OneServer) -> tuple[int, int]:
    """The statuses of a call and of an inference with it."""
    with httpx.Client(base_url=server.url, headers=CONSOLE, cookies=session, timeout=REQUEST_S, verify=PLAIN) as page:
        called = page.get("/console/session").status_code
        return called, page.post(f"/models/v2/{MODEL}", json={"text": "hello"}).status_code


async def test_a_leader_that_is_stopped_answers_again_when_it_follows_the_next_one(many: Many) -> None:
    await two_replicas(many)
    stopped = await go_on_without(many, stopped_s=0.0)
    (other,) = (each for each in many.servers if each is not stopped)
    lives = many.open_lives()
    other.signal(signal.SIGSTOP)
    assert stopped.run("again").json()["output"] == "again"
    other.signal(signal.SIGCONT)
    wait_until(other.answers)
    assert many.open_lives() == lives


async def test_what_is_under_way_on_a_node_that_is_cut_off_is_answered_by_another(many: Many) -> None:
    await two_replicas(many)
    cut_off = many.agent_processes()[0]
    processes = [cut_off, *cut_off.children(recursive=True)]
    answers: list[str] = []
    asking = [
        threading.Thread(target=lambda server=server: answers.append(server.run("still there").json()["output"]))
        for server in many.servers * 4
    ]
    for each in processes:
        each.suspend()
    try:
        began = time.monotonic()
        for thread in asking:
            thread.start()
        for thread in asking:
            await asyncio.to_thread(thread.join)
        took_s = time.monotonic() - began
    finally:
        for each in processes:
            with suppress(psutil.NoSuchProcess):
                each.resume()
    print(f"all answered {took_s:.2f} s after the node was cut off")
    assert answers == ["still there"] * len(asking)
    assert took_s <= 2 * FOLLOWED_S  # a busy machine; at rest the node is lost after 2.5 s
    wait_until(lambda: all(each.under_way() == (0, 0, 0) for each in many.servers))


@pytest.mark.parametrize(
    ("servers", "requests", "pause_s", "disturbances"),
    [
        pytest.param(2, 300, 0.0, disturb_all, id="short"),
        pytest.param(3, 10_000, 0.1, disturb_every_5_s, id="long", marks=pytest.mark.verify(part="ray")),
    ],
)
async def test_no_request_is_lost_while_replicas_nodes_and_servers_are_killed(
    many: Many, servers: int, requests: int, pause_s: float, disturbances: Callable[[Many, Load], AsyncIterator[str]]
) -> None:
    nodes = [f"node-{number}" for number in range(servers)]
    await lose_nothing(
        many, servers=servers, nodes=nodes, requests=requests, pause_s=pause_s, disturbances=disturbances
    )
