"""Several servers on one PostgreSQL: each answers every call, whichever leads, stops or dies."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.chaos.bill import HEARTBEAT_S, WRITTEN_S
from tests.chaos.lives import Lives, watched
from tests.serving import KEY, REQUEST_S, wait_until
from tests.serving.many import MODEL, Many, OneServer
from tests.store.postgresql import create_schema, url_of_schema

FOLLOWED_S = 3.0
NOTICED_S = 4.0
"""By how much a life and its line may differ: while no server leads, nobody notices that one has begun or ended."""


@pytest.fixture(scope="module")
async def all_servers(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> AsyncIterator[Many]:
    many = Many(tmp_path_factory.mktemp("servers"), url_of_schema(postgresql_server, create_schema(postgresql_server)))
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
    leader = many.leader()
    (other,) = (each for each in many.servers if each is not leader)
    capacity = {"min": 2, "desired": 2, "max": 2}  # what is held keeps one of them from everything else
    assert other.client.put(f"/models/v2/{MODEL}", json={"capacity": capacity}).status_code == 202
    assert leader.client.get(f"/models/v2/{MODEL}").json()["output"]["capacity"] == capacity
    wait_until(lambda: len(many.open_lives()) == 2)
    lives = many.open_lives()
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
    assert many.open_lives() == lives


async def test_a_leader_that_is_stopped_answers_again_when_it_follows_the_next_one(many: Many) -> None:
    leader = many.leader()
    (other,) = (each for each in many.servers if each is not leader)
    assert leader.run("hello").status_code == 200
    wait_until(many.open_lives)
    lives = many.open_lives()
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
    assert many.open_lives() == lives


ANSWERED = "answered"
CONNECTIONS = 12


class Load:
    """Requests on many connections, each of which changes to another server when its own has died. `lost`: what became
    of a request whose server lived."""

    def __init__(self, many: Many, count: int, pause_s: float) -> None:
        self.answered = 0
        self._answers: list[tuple[OneServer, int, float]] = []
        self._pause_s = pause_s
        self.lost: Counter[str] = Counter()
        self.slowest_s = 0.0
        self._many = many
        self._count = self._left = count
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CONNECTIONS)]

    @contextmanager
    def running(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        yield
        for thread in self._threads:
            thread.join()

    def wait(self, seconds: float) -> bool:
        """Returns after so long; whether all has been answered by then."""
        return self._over.wait(seconds)

    def wait_share(self, share: float) -> None:
        """Returns when so much of it has been answered."""
        wait_until(lambda: self.answered + self.lost.total() >= share * self._count)

    def answered_for_certain(self) -> int:
        """Of these, those that were written down before their server was killed, if it was."""
        return sum(at + WRITTEN_S <= server.killed_at.get(start, math.inf) for server, start, at in self._answers)

    def _take(self) -> bool:
        self._over.wait(self._pause_s)
        with self._lock:
            self._left -= 1
            return self._left >= 0

    def _ask(self, number: int) -> None:
        """One after the other, each again where its server has died."""
        client = self._connect(number)
        while self._take():
            while (outcome := client.ask()) is None:
                client.connection.close()
                client = self._connect(number)
            with self._lock:
                self.slowest_s = max(self.slowest_s, client.took_s)
                if outcome == ANSWERED:
                    self.answered += 1
                    self._answers.append((client.server, client.start, time.monotonic()))
                else:
                    self.lost[outcome] += 1
        self._over.set()
        client.connection.close()

    def _connect(self, number: int) -> Client:
        servers = wait_until(lambda: [server for server in self._many.servers if server.is_up])
        return Client(servers[number % len(servers)])


class Client:
    """A connection to one server, for as long as that lives."""

    def __init__(self, server: OneServer) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_S)
        self.took_s = 0.0
        self.server = server
        self.start = server.starts

    def ask(self) -> str | None:
        """What became of a request; None: its server has died."""
        begun = time.monotonic()
        body, headers = json.dumps({"text": "a cat"}), {"authorization": KEY, "content-type": "application/json"}
        try:
            self.connection.request("POST", f"/models/v2/{MODEL}", body, headers)
            response = self.connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            has_died = not self.server.is_up or self.server.starts != self.start
            return None if has_died else f"{type(error).__name__} {error}"
        self.took_s = time.monotonic() - begun
        return ANSWERED if response.status == 200 else f"{response.status} {text.decode()}"


async def disturb(many: Many, kind: str, chance: random.Random) -> None:
    """Kills one thing, and starts it again where nothing else does."""
    match kind:
        case "replica":
            if workers := many.workers():
                chance.choice(workers).kill()
        case "node":
            name = chance.choice([*many.agents.addresses])
            await many.kill_node(name)
            await many.start_nodes(name)
        case "leader" | "server":
            leader = many.leader()
            others = [each for each in many.servers if each is not leader]
            victim = leader if kind == "leader" else chance.choice(others)
            await asyncio.to_thread(victim.kill)
            victim.start()
            await asyncio.to_thread(victim.up)


def problems_of_bill(many: Many, lives: Lives, server: OneServer) -> Iterator[str]:
    """What does not hold of the bill, life by life, after all have ended."""
    query = {"since": "2000-01-01", "until": "2100-01-01", "lines": "true"}
    lines = server.client.get("/models/v2/usage", params=query).json()["output"]["lines"]
    with psycopg.connect(many.database_url) as database:
        pids = dict(database.execute("SELECT id, pid FROM instances").fetchall())
    billed = Counter[int]()
    for line in lines:
        if line["open"]:
            yield f"{line['instanceId']} is open"
        if (pid := pids[line["instanceId"]]) is not None:
            billed[pid] += line["billedSeconds"]
    if len([pid for pid in pids.values() if pid is not None]) != len(billed):
        yield "a process is billed twice"
    for process in lives.began:
        lived_s, billed_s = lives.lived_s(process), billed[process[0]]
        if not lived_s - HEARTBEAT_S - NOTICED_S <= billed_s <= lived_s + NOTICED_S:
            yield f"{process} lived {lived_s:.2f} s, {billed_s:.2f} s are billed"
    print(
        f"{len(lives.began)} lives of {sum(map(lives.lived_s, lives.began)):.1f} s, {sum(billed.values()):.1f} s billed"
    )


async def disturb_all(many: Many, load: Load) -> AsyncIterator[str]:
    """One of each kind that needs nothing else, spread over the load."""
    kinds = ("leader", "replica", "node")
    for number, kind in enumerate(kinds, start=1):
        await asyncio.to_thread(load.wait_share, number / (len(kinds) + 1))
        await disturb(many, kind, random.Random(7))
        yield kind


async def disturb_every_5_s(many: Many, load: Load) -> AsyncIterator[str]:
    """Whatever is drawn."""
    chance = random.Random(7)
    while not await asyncio.to_thread(load.wait, 5.0):
        kind = chance.choice(["replica", "node", "server", "leader"])
        await disturb(many, kind, chance)
        yield kind


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
    first, *_ = await many.up(servers, *nodes)
    answered = requests_answered(many)
    capacity = {"min": servers, "desired": servers, "max": 2 * servers}
    assert first.client.put(f"/models/v2/{MODEL}", json={"capacity": capacity}).status_code == 202
    assert first.run("warm").status_code == 200
    load, kills = Load(many, requests, pause_s), Counter[str]()
    with watched(many) as lives:  # type: ignore[arg-type] - as far as it is looked at
        with load.running():
            async for kind in disturbances(many, load):
                kills[kind] += 1
        print(f"{load.answered} answered, the slowest after {load.slowest_s:.2f} s; killed: {dict(kills)}")
        server = many.leader()
        wait_until(lambda: server.under_way() == (0, 0, 0))
        assert server.client.delete(f"/models/v2/{MODEL}").status_code == 200
        wait_until(lambda: not many.workers())
    assert not load.lost
    assert load.answered == requests
    assert [*problems_of_bill(many, lives, server)] == []
    written = requests_answered(many) - answered - 1
    assert load.answered_for_certain() <= written <= requests + CONNECTIONS * sum(kills.values())


def requests_answered(many: Many) -> int:
    """As the bill has them; none is open."""
    with psycopg.connect(many.database_url) as database:
        query = "SELECT count(*) FILTER (WHERE outcome = 'answered'), count(*) FROM requests WHERE settled_at IS {}"
        answered = database.execute(query.format("NOT NULL")).fetchone()
        unsettled = database.execute(query.format("NULL")).fetchone()
    assert answered is not None
    assert unsettled == (0, 0)
    return int(answered[0])
