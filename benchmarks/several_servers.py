"""What a request costs three servers on one PostgreSQL, with three nodes, beside what it costs one that is alone, and
three that know nothing of each other: ECHO with 64 clients, divided over the servers, in turns.

CPU time of servers and their gateways; workers, nodes' agents and the database are not counted. Nodes are agents whose
workers echo, without Ray, which nobody asks anything while requests are answered. Three event loops that each have a
third of the requests find fewer of them each time they wake, whoever they work with: what three strangers take is
that, and what three servers take more than they is what it costs to be one. What servers take while nobody asks is
measured before each round; how much of a request's cost it is, and the ratio without it, are shown beside.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.peers import models
from benchmarks.peers.load import Address, Load, client_name, load
from benchmarks.report import ratio, rounds, spread
from benchmarks.several_gateways import cpu_us

NODES = ("node-0", "node-1", "node-2")
CLIENTS = 64
ROUNDS = rounds(15)
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
MOST = 1.1


@dataclass(frozen=True, slots=True)
class Side:
    """Servers that share a database. `processes`: theirs; `rates`, `costs`: as they were measured, requests per second
    and microseconds of CPU time for one; `idle`: of a second in which nobody asks."""

    addresses: Sequence[Address]
    processes: Sequence[psutil.Process]
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    idle: list[float] = field(default_factory=list)

    def take_round(self) -> None:
        """Loads all of them at once, each with its share of the clients."""
        wanted = Load(('{"text": "' + models.SENTENCE + '"}',), CLIENTS // len(self.addresses), SECONDS)
        before_us = cpu_us(self.processes)
        with ThreadPoolExecutor(len(self.addresses)) as threads:
            rate = sum(figures.rate for figures in threads.map(lambda each: load(each, wanted), self.addresses))
        self.rates.append(rate)
        self.costs.append((cpu_us(self.processes) - before_us) / (rate * SECONDS))

    @property
    def idle_shares(self) -> list[float]:
        """What of each of `costs` servers take while nobody asks."""
        return [idle / rate for idle, rate in zip(self.idle, self.rates, strict=True)]

    @property
    def costs_without_idle(self) -> list[float]:
        """What is left of `costs`."""
        return [cost - share for cost, share in zip(self.costs, self.idle_shares, strict=True)]


def run() -> bool:
    """Prints both; whether three take no more for a request than is promised."""
    return asyncio.run(measure())


async def measure() -> bool:
    """See `run`."""
    from tests.store.postgresql import run_postgresql

    with tempfile.TemporaryDirectory() as folder, run_postgresql() as database:
        async with AsyncExitStack() as stack:

            async def open_side(name: str, servers: int, *nodes: str) -> Side:
                return await stack.enter_async_context(serve(Path(folder) / name, database.get_uri(), servers, *nodes))

            one, three = await open_side("one", 1, *NODES), await open_side("three", 3, *NODES)
            strangers = [await open_side(name, 1, name) for name in NODES]
            apart = Side(
                [address for each in strangers for address in each.addresses],
                [process for each in strangers for process in each.processes],
            )
            sides = {"1 server": one, "3 servers": three, "3 strangers": apart}
            for _ in range(ROUNDS):
                await take_idle(sides.values())
                for side in sides.values():
                    await asyncio.to_thread(side.take_round)
    for words, side in sides.items():
        print(f"{words}, by {client_name():22} {spread(side.rates, 'requests/s')}")
        print(f"{words}, CPU time for one request {spread(side.costs, 'us')}")
        print(f"{words}, of it while nobody asks {spread(side.idle_shares, 'us')}")
    kept = ratio("CPU time for one request, 3 servers / 1", three.costs, one.costs, at_most=MOST)
    ratio("the same without what is taken while nobody asks", three.costs_without_idle, one.costs_without_idle)
    ratio("CPU time for one request, 3 strangers / 1", apart.costs, one.costs)
    ratio("CPU time for one request, 3 servers / 3 strangers", three.costs, apart.costs)
    return kept


async def take_idle(sides: Collection[Side]) -> None:
    """Asks nobody for as long as a round takes."""
    before_us = [cpu_us(side.processes) for side in sides]
    await asyncio.sleep(SECONDS)
    for side, before in zip(sides, before_us, strict=True):
        side.idle.append((cpu_us(side.processes) - before) / SECONDS)


@asynccontextmanager
async def serve(folder: Path, database_url: str, count: int, *nodes: str) -> AsyncIterator[Side]:
    """So many servers and a replica on each node, until the end of the block."""
    from tests.serving import KEY, family_of, wait_until
    from tests.serving.many import MODEL, Many
    from tests.store.postgresql import create_schema, url_of_schema

    folder.mkdir()
    many = Many(folder, url_of_schema(database_url, create_schema(database_url)))
    try:
        servers = await many.up(count, *nodes)
        capacity = dict.fromkeys(("min", "desired", "max"), len(nodes))
        put = servers[0].client.put(f"/models/v2/{MODEL}", json={"capacity": capacity})
        assert put.status_code == 202, put.text
        wait_until(lambda: len(many.open_lives()) == len(nodes))
        addresses = [Address(each.port, f"/models/v2/{MODEL}", KEY) for each in servers]
        yield Side(addresses, [each for server in servers for each in (server.process, *family_of(server.process))])
    finally:
        await many.close()
