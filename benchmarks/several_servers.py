"""What a request costs three servers on one PostgreSQL beside what it costs one that is alone, and three that know
nothing of each other, in turns: ECHO, loaded in three ways.

- *As one is, each*: every server has 64 clients, as the one has; who adds servers to one that is full has more clients.
- *Divided*: 64 clients in all, a third of them for each server. Each of three event loops then finds fewer requests
  each time it wakes, whoever it works with.
- *At a pace*: every server gets as many requests a second as the one, so few that no core is full.

In the first two the one server fills a core while its clients have the other, and three share the same two: what three
strangers take is what becomes of any three so. What three servers take more than they is what it costs to be one.

CPU time of servers and their gateways; workers, nodes' agents and the database are not counted. Each of them that is
alone has three nodes, as the three together: agents whose workers echo, without Ray, which nobody asks anything while
requests are answered. A worker takes more requests at once than there are clients, so that none waits for a slot. What
servers take while nobody asks is measured before each round.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.paced import AskedOverHttp, ask_at_pace
from benchmarks.peers import models
from benchmarks.peers.load import Address, Load, client_name, encode, load
from benchmarks.report import ratio, rounds, spread
from benchmarks.several_gateways import cpu_us

NODES = ("node-0", "node-1", "node-2")
CLIENTS = 64
SLOTS = 256
"""Of each worker: more than all clients of three servers."""
PACE = 1000.0
"""Requests a second of each server, in the third way."""
ROUNDS = rounds(10)
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
MOST = 1.1
BODY = '{"text": "' + models.SENTENCE + '"}'

Ask = Callable[[Address], float]
"""Loads one server for SECONDS; how many requests it has answered a second."""


def ask_with(clients: int) -> Ask:
    """So many clients, each of whom asks as soon as it is answered."""
    return lambda address: load(address, Load((BODY,), clients, SECONDS)).rate


def ask_at_a_pace(address: Address) -> float:
    """PACE requests a second, whatever becomes of those before."""
    asked = AskedOverHttp(address.port, encode(address, BODY), CLIENTS)
    answered = len(ask_at_pace(asked, PACE, SECONDS))
    for sock in asked.sockets:
        sock.close()
    return answered / SECONDS


@dataclass(frozen=True, slots=True)
class Side:
    """Servers that share a database. `processes`: theirs; `idle`: microseconds of CPU time that they take in a second
    in which nobody asks, as measured."""

    addresses: Sequence[Address]
    processes: Sequence[psutil.Process]
    idle: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Cost:
    """What one side took under one load. `rates`, `each`: as they were measured, requests per second and microseconds
    of CPU time for one."""

    side: Side
    ask: Ask
    rates: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)

    def take_round(self) -> None:
        """Loads all servers at once."""
        before_us = cpu_us(self.side.processes)
        with ThreadPoolExecutor(len(self.side.addresses)) as threads:
            rate = sum(threads.map(self.ask, self.side.addresses))
        self.rates.append(rate)
        self.each.append((cpu_us(self.side.processes) - before_us) / (rate * SECONDS))

    @property
    def idle_shares(self) -> list[float]:
        """What of each of `each` servers take while nobody asks."""
        return [idle / rate for idle, rate in zip(self.side.idle, self.rates, strict=True)]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to load the sides."""

    words: str
    one: Cost
    three: Cost
    strangers: Cost

    def print_costs(self) -> bool:
        """Prints all; whether three take no more for a request than is promised."""
        print(f"{self.words}:")
        for words, cost in (("1 server", self.one), ("3 servers", self.three), ("3 strangers", self.strangers)):
            print(f"{words:12} {spread(cost.rates, 'requests/s')}")
            print(f"{words:12} {spread(cost.each, 'us')} of CPU time for one, {spread(cost.idle_shares, 'us')} idle")
        kept = ratio(f"CPU of a request, 3 servers / 1, {self.words}", self.three.each, self.one.each, at_most=MOST)
        ratio("3 strangers / 1", self.strangers.each, self.one.each)
        ratio("3 servers / 3 strangers", self.three.each, self.strangers.each)
        return kept


def run() -> bool:
    """Prints all; whether three take no more for a request than is promised, however they are loaded."""
    return asyncio.run(measure())


async def measure() -> bool:
    """See `run`."""
    from tests.store.postgresql import run_postgresql

    with tempfile.TemporaryDirectory() as folder, run_postgresql() as database:
        async with AsyncExitStack() as stack:

            async def open_side(name: str, servers: int) -> Side:
                return await stack.enter_async_context(serve(Path(folder) / name, database.get_uri(), servers))

            one, three = await open_side("one", 1), await open_side("three", 3)
            strangers = [await open_side(f"stranger-{number}", 1) for number in range(3)]
            apart = Side(
                [address for each in strangers for address in each.addresses],
                [process for each in strangers for process in each.processes],
            )
            ways = ways_of(one, three, apart)
            costs = dict.fromkeys(cost for way in ways for cost in (way.one, way.three, way.strangers))
            for _ in range(ROUNDS):
                await take_idle((one, three, apart))
                for cost in costs:
                    await asyncio.to_thread(cost.take_round)
    print(f"clients are {client_name()}, those at a pace benchmarks.paced")
    kept = [way.print_costs() for way in ways]
    return all(kept)


def ways_of(one: Side, three: Side, strangers: Side) -> Sequence[Way]:
    """All ways. Where 64 clients ask the one it is the same whether others have as many each, or divide them."""
    alone, share = Cost(one, ask_with(CLIENTS)), ask_with(CLIENTS // len(three.addresses))
    return (
        Way(f"{CLIENTS} clients each", alone, Cost(three, ask_with(CLIENTS)), Cost(strangers, ask_with(CLIENTS))),
        Way(f"{CLIENTS} clients in all", alone, Cost(three, share), Cost(strangers, share)),
        Way(f"{PACE:.0f} requests/s each", *(Cost(side, ask_at_a_pace) for side in (one, three, strangers))),
    )


async def take_idle(sides: Collection[Side]) -> None:
    """Asks nobody for as long as a round takes."""
    before_us = [cpu_us(side.processes) for side in sides]
    await asyncio.sleep(SECONDS)
    for side, before in zip(sides, before_us, strict=True):
        side.idle.append((cpu_us(side.processes) - before) / SECONDS)


@asynccontextmanager
async def serve(folder: Path, database_url: str, count: int) -> AsyncIterator[Side]:
    """So many servers and a replica on each of three nodes, until the end of the block."""
    from tests.serving import KEY, family_of, wait_until
    from tests.serving.many import MODEL, Many
    from tests.store.postgresql import create_schema, url_of_schema

    folder.mkdir()
    many = Many(folder, url_of_schema(database_url, create_schema(database_url)), slots=SLOTS)
    try:
        servers = await many.up(count, *NODES)
        capacity = dict.fromkeys(("min", "desired", "max"), len(NODES))
        put = servers[0].client.put(f"/models/v2/{MODEL}", json={"capacity": capacity})
        assert put.status_code == 202, put.text
        wait_until(lambda: len(many.open_lives()) == len(NODES))
        addresses = [Address(each.port, f"/models/v2/{MODEL}", KEY) for each in servers]
        yield Side(addresses, [each for server in servers for each in (server.process, *family_of(server.process))])
    finally:
        await many.close()
