"""What must hold of several servers while one is stopped, or replicas, nodes and servers are killed under load, on any
nodes.

    await lose_nothing(many, servers=3, nodes=("node-0", "node-1"), requests=300, pause_s=0.0, disturbances=disturb_all)
    await two_replicas(many)
    await go_on_without(many, stopped_s=20.0)
"""

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
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.chaos.bill import HEARTBEAT_S, WRITTEN_S
from tests.chaos.lives import Lives, watched
from tests.serving import KEY, REQUEST_S, wait_until
from tests.serving.many import MODEL, Many, OneServer

FOLLOWED_S = 3.0
NOTICED_S = 4.0
"""By how much a life and its line may differ: while no server leads, nobody notices that one has begun or ended."""
FOLLOWS_NOW = "another server leads now: this one follows it"
"""What a server's log says that led before."""
ASKED_EVERY_S = 0.2
"""Of the other servers, while one is stopped."""


def open_stream(server: OneServer, key: str = KEY) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream that has begun, and goes on until its client leaves."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=REQUEST_S)
    body = json.dumps({"text": "hold this", "stream": True})
    connection.request("POST", f"/models/v2/{MODEL}", body, {"authorization": key, "content-type": "application/json"})
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
            name = chance.choice([*many.nodes])
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


async def lose_nothing(
    many: Many,
    *,
    servers: int,
    nodes: Sequence[str],
    requests: int,
    pause_s: float,
    disturbances: Callable[[Many, Load], AsyncIterator[str]],
) -> None:
    """So many requests over so many servers, each client's with that pause before it: none is lost but with the server
    that it was sent to, the bill has the lives that there were, counters are zero in the end."""
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
    assert not load.lost, f"lost: {dict(load.lost)}"
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


async def two_replicas(many: Many) -> None:
    """Wanted of one server, and known to all. What is held keeps one of them from everything else."""
    capacity = {"min": 2, "desired": 2, "max": 2}
    assert many.servers[-1].client.put(f"/models/v2/{MODEL}", json={"capacity": capacity}).status_code == 202
    for server in many.servers:
        assert server.client.get(f"/models/v2/{MODEL}").json()["output"]["capacity"] == capacity
    wait_until(lambda: len(many.open_lives()) == 2)


async def go_on_without(many: Many, *, stopped_s: float) -> OneServer:
    """The server that leads is stopped for so long: the next one leads soon, and goes on with the same processes, lives
    and a stream that is under way. Once the first goes on it writes, launches and stops nothing, and answers by what
    the other knows. Returns the one that was stopped. There are two replicas."""
    leader = many.leader()
    other = next(each for each in many.servers if each is not leader)
    lives, workers = many.open_lives(), [each.pid for each in many.workers()]
    connection, _ = open_stream(other)
    told = leader.log.read_text().count(FOLLOWS_NOW)

    leader.signal(signal.SIGSTOP)
    began = time.monotonic()
    assert other.run("still there").json()["output"] == "still there"
    took_s = time.monotonic() - began
    print(f"answered {took_s:.2f} s after the leader was stopped")
    assert took_s <= FOLLOWED_S
    never = threading.Event()
    while time.monotonic() - began < stopped_s:
        assert other.run("meanwhile").status_code == 200
        never.wait(ASKED_EVERY_S)
    assert many.leader() is not leader
    before = written_by_control(many)
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(leader.run("late").json()["output"]))
    asking.start()
    leader.signal(signal.SIGCONT)
    await asyncio.to_thread(asking.join)
    wait_until(lambda: leader.log.read_text().count(FOLLOWS_NOW) > told)

    assert answers == ["late"]
    assert many.leader() is not leader
    assert written_by_control(many) == before
    assert many.open_lives() == lives
    assert [each.pid for each in many.workers()] == workers
    assert is_open(connection)
    connection.close()
    wait_until(lambda: all(each.under_way() == (0, 0, 0) for each in many.servers))
    return leader


def written_by_control(many: Many) -> list[Any]:
    """What servers that lead have written: the lives, without their heartbeats, and how long the clusters' log is."""
    with psycopg.connect(many.database_url) as database:
        lives = database.execute("SELECT id, server_id, ready_at, ended_at FROM instances ORDER BY id").fetchall()
        return [lives, database.execute("SELECT count(*) FROM events").fetchone()]
