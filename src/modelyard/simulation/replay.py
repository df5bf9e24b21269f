"""One trace under one policy: requests on the real routes, replicas by the real control loop, on a simulated engine.

Owns the requests and their figures. Decides nothing: what there is to decide is decided by `control`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from modelyard.accounts.ledger import lines, total
from modelyard.control.policy import Policy
from modelyard.control.routes import Route, Routes
from modelyard.control.targets import Target
from modelyard.errors import LeaseLost, ModelyardError, ReplicaLost
from modelyard.money import pico_per_gb_s
from modelyard.records.clusters import Capacity
from modelyard.records.instances import Tariff
from modelyard.simulation.catalog import TracedModels
from modelyard.simulation.engine import Fleet, LastingEngine, SimulatedEngine, SimulatedLink
from modelyard.simulation.ledger import Ledger
from modelyard.simulation.outcome import Outcome, Sample
from modelyard.simulation.servers import MemoryLeases, Server, Shared
from modelyard.simulation.traces import Trace
from modelyard.simulation.virtual_time import VirtualClock, run_in_virtual_time

MAX_TRIES = 3
"""As often as a request is begun whose replica is lost."""
SAMPLES = 288
"""Of a replay: of a day, one in five minutes."""
WAIT_S = 900.0
MAX_QUEUED = 1000
PRICE_PER_GB_S = 0.0000166667


@dataclass(frozen=True, slots=True)
class Setting:
    """What a replay runs under. `policy`: control's; `most_replicas`: a cluster's `max`; `seed`: of what fails, and
    when. `wait_s`, `max_queued`: how long, and how many, requests may wait; `tariff`: what memory costs."""

    fleet: Fleet = field(default_factory=Fleet)
    policy: Policy = field(default_factory=Policy)
    most_replicas: int = 1
    wait_s: float = WAIT_S
    max_queued: int = MAX_QUEUED
    tariff: Tariff = field(default_factory=lambda: Tariff(pico_per_gb_s(PRICE_PER_GB_S)))
    seed: int = 0


def replay(trace: Trace, setting: Setting, name: str = "") -> Outcome:
    """Replays the trace; what came of it. `name`: of the policy, for a table. The same arguments, the same outcome."""
    began = time.process_time()
    frozen = gc.get_freeze_count()
    gc.collect()
    gc.freeze()
    try:
        outcome = run_in_virtual_time(Replay(trace, setting).run(name))
    finally:
        if not frozen:  # else somebody has frozen what is to stay so
            gc.unfreeze()
    return replace(outcome, cpu_s=time.process_time() - began)


@dataclass(eq=False, slots=True)
class Held:
    """A request's slot on a replica, with the server that counts it by now."""

    account_id: str
    model_id: str
    routes: Routes
    route: Route
    target: Target

    def tell(self, server: Server) -> None:
        """The next server that leads holds it from now on, as gateways tell it; where it does not go on with the
        replica there is nothing to hold."""
        route = server.find_route(self.account_id, self.model_id)
        target = None if route is None else server.routes.hold(route, self.target.replica_id)
        if route is not None and target is not None:
            self.routes, self.route, self.target = server.routes, route, target


class Replay:
    """One run. Belongs to one virtual loop."""

    def __init__(self, trace: Trace, setting: Setting) -> None:
        self._trace = trace
        self._setting = setting
        self._capacity = Capacity(0, 1, setting.most_replicas)
        self._waits_s: list[float] = []
        self._failed: Counter[str] = Counter()
        self._retried = self._cold = self._waiting = 0
        self._most_replicas = 0
        self._samples: list[Sample] = []
        self._held: dict[Held, None] = {}
        self._servers: list[Server] = []
        self._led = asyncio.Event()
        self._unled_s = 0.0

    async def run(self, name: str) -> Outcome:
        """From the first request until the last is answered and every replica has ended."""
        self._open()
        await self._lead()
        beside = [asyncio.create_task(each) for each in self._beside()]
        await self._send_all()
        await asyncio.sleep(max(0.0, self._trace.span_s - asyncio.get_running_loop().time()))
        for task in beside:
            task.cancel()
        for result in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        await self._servers[-1].close()
        return self._outcome(name)

    def _open(self) -> None:
        setting, fleet = self._setting, self._setting.fleet
        self._clock = clock = VirtualClock(asyncio.get_running_loop())
        outlives = fleet.server_fails_every_s > 0
        self._ledger = Ledger(outlives_servers=outlives)
        self._engine = LastingEngine(fleet) if outlives else SimulatedEngine(fleet)
        self._shared = Shared(
            self._engine,
            TracedModels(self._trace).as_catalog(),
            self._ledger,
            clock,
            setting.policy,
            setting.tariff,
            setting.max_queued,
            MemoryLeases(clock) if outlives else None,
        )

    def _beside(self) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on beside the requests."""
        fleet, seed = self._setting.fleet, self._setting.seed
        yield self._sample_forever()
        if fleet.fails_every_s:
            yield self._engine.fail_nodes(np.random.default_rng(seed))
        if fleet.server_fails_every_s:
            yield self._fail_servers(np.random.default_rng([seed, 1]))

    async def _lead(self) -> None:
        """The next server leads, and is told what is held."""
        server = Server(f"server-{len(self._servers) + 1}", self._shared)
        await server.lead()
        for held in self._held:
            held.tell(server)
        self._servers.append(server)
        self._led.set()

    async def _fail_servers(self, dice: np.random.Generator) -> None:
        """The server that leads dies now and then; another is there, and follows."""
        while True:
            await asyncio.sleep(dice.exponential(self._setting.fleet.server_fails_every_s))
            died_at = self._clock.monotonic()
            self._led.clear()
            await self._servers[-1].die()
            await self._lead()
            self._unled_s = max(self._unled_s, self._clock.monotonic() - died_at)

    async def _sample_forever(self) -> None:
        while True:
            held = self._engine.held_bytes
            now = self._clock.monotonic()
            self._samples.append(Sample(now, held, len(self._engine.sightings()), self._waiting))
            await asyncio.sleep(self._trace.span_s / SAMPLES)

    # --- requests ---

    async def _send_all(self) -> None:
        loop, models, trace = asyncio.get_running_loop(), self._trace.models, self._trace
        under_way: set[asyncio.Task[None]] = set()
        every = zip(trace.at_s.tolist(), trace.model.tolist(), trace.duration_s.tolist(), strict=True)
        for at_s, number, duration_s in every:
            if (early_s := at_s - loop.time()) > 0:
                await asyncio.sleep(early_s)
            model = models[number]
            task = loop.create_task(self._ask(model.account, model.model_id, duration_s))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        if under_way:
            await asyncio.wait(set(under_way))

    async def _ask(self, account_id: str, model_id: str, duration_s: float) -> None:
        began = self._clock.monotonic()
        try:
            for each in range(MAX_TRIES):
                self._retried += each > 0
                held = await self._acquire(account_id, model_id, counts=each == 0)
                if await self._work_on(held, self._clock.monotonic() - began, duration_s):
                    return
            self._failed[ReplicaLost.code] += 1
        except ModelyardError as error:
            self._failed[error.code] += 1

    async def _acquire(self, account_id: str, model_id: str, *, counts: bool) -> Held:
        """A slot, of the server that leads; where that dies, the next one is asked. `counts`: as a cold start where
        there is no replica. Raises what the routes do."""
        self._waiting += 1
        try:
            while True:
                await self._led.wait()
                server = self._servers[-1]
                with suppress(LeaseLost):
                    route = await server.ensure_route(account_id, model_id, self._capacity)
                    self._cold += counts and not route.targets
                    counts = False
                    target = await server.routes.acquire(route, self._setting.wait_s)
                    return Held(account_id, model_id, server.routes, route, target)
        finally:
            self._waiting -= 1

    async def _work_on(self, held: Held, waited_s: float, duration_s: float) -> bool:
        """Whether the request was answered."""
        self._most_replicas = max(self._most_replicas, len(held.route.targets))
        link = cast(SimulatedLink, held.target.link)
        self._held[held] = None
        answered = False
        try:
            await link.serve(duration_s)
            answered = True
            self._waits_s.append(waited_s)
        except ReplicaLost:
            held.routes.lose(held.route, held.target)
        finally:
            del self._held[held]
            held.routes.release(held.route, held.target, answered=answered)
        return answered

    # --- figures ---

    def _outcome(self, name: str) -> Outcome:
        engine = self._engine
        engine.count()
        return Outcome(
            policy=name,
            requests=len(self._trace),
            failed=self._failed,
            retried=self._retried,
            cold_starts=self._cold,
            waits_s=self._waits_s,
            launches=engine.launches,
            evictions=sum(each.evictions for each in self._servers),
            node_failures=engine.node_failures,
            server_failures=len(self._servers) - 1,
            unled_s=self._unled_s,
            byte_s=engine.byte_s,
            peak_bytes=engine.peak_bytes,
            fullest=engine.fullest,
            cost_nano=total(lines(self._ledger.instances.by_id.values(), now=self._clock.now())).amount_nano,
            most_replicas=self._most_replicas,
            samples=self._samples,
        )
