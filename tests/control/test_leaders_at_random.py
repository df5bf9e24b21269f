"""Servers that die or are stopped at any moment, in any order with what clients and replicas do: what must hold."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any

import pytest

from modelyard.control.adoption import TOLD_S
from modelyard.engine.base import Phase
from modelyard.errors import ModelyardError
from tests.control.control_plane import SMALL, THIRD, TWIN, ControlPlane, Request
from tests.control.several_servers import Servers, end_lease
from tests.loop import turns

MODELS = (SMALL, TWIN, THIRD)
STEPS, TERMS = 12, 4
SLACK_S = 10.0
"""A heartbeat: a life that is cut off ends at its last one."""


class Lives:
    """When each replica was ready, and when it ended, as the machines saw it."""

    def __init__(self, servers: Servers) -> None:
        self._machines, self._clock = servers.machines, servers.clock
        self.ready: dict[str, datetime] = {}
        self.ended: dict[str, datetime] = {}
        self._machines.servers.append(self.look)

    def look(self) -> None:
        for replica_id, sighting in self._machines.sightings().items():
            if sighting.phase is Phase.READY:
                self.ready.setdefault(replica_id, self._clock.now())
            elif sighting.phase is Phase.GONE:
                self.ended.setdefault(replica_id, self._clock.now())


class Term:
    """One server while it leads, and what its clients have asked."""

    def __init__(self, server: ControlPlane, dice: random.Random, servers: Servers) -> None:
        self.server = server
        self._dice = dice
        self._servers = servers
        self._held: list[Request] = []
        self._tasks: list[asyncio.Task[object]] = []

    async def do_something(self) -> None:
        server, dice = self.server, self._dice
        model_id = dice.choice(MODELS)
        match dice.choice(("put", "put", "patch", "delete", "ask", "ask", "answer", "die", "wait", "step")):
            case "put":
                most, timeout_s = dice.randint(1, 3), dice.choice((1, 600))
                self._begin(server.put(model_id, desired=dice.randint(0, most), max=most, timeout=timeout_s))
            case "patch":
                self._begin(server.patch(model_id, desired=0, min=0))
            case "delete":
                self._begin(server.clusters.delete(server.account, model_id))
            case "ask":
                with suppress(ModelyardError):
                    self._held.append(await server.ask(model_id))
            case "answer" if self._held:
                request = self._held.pop(dice.randrange(len(self._held)))
                if request.target is not None:
                    request.answer()
            case "die" if self._servers.alive():
                self._servers.machines.die(dice.choice(sorted(self._servers.alive())))
            case "wait":
                await server.settle()  # what has happened is seen when it happens
                self._servers.clock.advance(dice.choice((0.1, 2, 11)))
            case _:
                server.step()
        for _ in range(dice.randint(0, 3)):
            server.step()
            await turns(dice.randint(0, 20))

    def _begin(self, change: Coroutine[Any, Any, object]) -> None:
        self._tasks.append(asyncio.create_task(change))

    async def leave(self) -> None:
        """Every client goes."""
        for request in self._held:
            if request.target is not None:
                request.answer()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, *self.server.clusters._under_way, return_exceptions=True)
        await self.server._leave()


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.verify(part="ray")) for seed in range(3, 60))]
)
async def test_no_replica_twice_no_gap_in_the_bill_no_second_line(servers: Servers, seed: int) -> None:
    dice = random.Random(seed)
    lives = Lives(servers)
    stopped: list[Term] = []
    term = Term(await servers.open(), dice, servers)
    for _ in range(TERMS):
        for _ in range(dice.randint(1, STEPS)):
            await term.do_something()
            for old in stopped:
                old.server.step()
                await turns(dice.randint(0, 3))
        end_lease(term.server)
        if dice.random() < 0.5:
            await term.server.drop()
            await term.leave()
        else:  # it is stopped in the middle of everything, and goes on when another leads
            stopped.append(term)
        term = Term(await servers.open(), dice, servers)

    server = term.server
    await server.settle()
    for old in stopped:
        old.server.step(after_s=1)
        await old.server.journal.flush()
        await old.leave()
    await server.settle()
    server.step(after_s=TOLD_S)  # from then on it drains what it has found, where that is too many
    await server.settle()

    rows = await server.ledger()
    alive = servers.alive()
    known = {replica for managed in server.desired.all() for replica in managed.replicas}
    assert alive <= known, "nothing lives that the leader does not know"
    assert {row.id for row in rows if row.ended_at is None} == known
    assert servers.launched() >= {row.id for row in rows}
    for managed in server.desired.all():
        assert managed.live() <= managed.cluster.capacity.max
    for row in rows:
        if row.ready_at is not None:
            assert abs((row.ready_at - lives.ready[row.id]).total_seconds()) <= SLACK_S + 3
        if row.ended_at is not None and row.id in lives.ended:
            assert -1 <= (lives.ended[row.id] - row.ended_at).total_seconds() <= SLACK_S + 11 + 3
    await term.leave()
    await server.settle()
    for managed in server.desired.all():
        load = managed.route.load()
        assert (load.in_flight, load.queued) == (0, 0)
