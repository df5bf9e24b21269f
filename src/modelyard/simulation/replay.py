"""One trace under one policy: requests on the real routes, replicas by the real control loop, on a simulated engine.

Owns the requests and their figures. Decides nothing: what there is to decide is decided by `control`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import cast

import numpy as np

from modelyard.accounts.ledger import lines, total
from modelyard.clock import SteadyClock
from modelyard.control.journal import Journal
from modelyard.control.parts import Parts, assemble
from modelyard.control.plane import Plane
from modelyard.control.policy import Policy
from modelyard.control.records import Records
from modelyard.control.routes import Route, Routes
from modelyard.control.work_queue import WorkQueue
from modelyard.errors import ModelyardError, ReplicaLost
from modelyard.money import pico_per_gb_s
from modelyard.records.accounts import Quota
from modelyard.records.clusters import Capacity
from modelyard.records.instances import Tariff
from modelyard.simulation.catalog import TracedModels
from modelyard.simulation.engine import Fleet, SimulatedEngine, SimulatedLink
from modelyard.simulation.ledger import Ledger
from modelyard.simulation.outcome import Outcome, Sample
from modelyard.simulation.traces import Trace
from modelyard.simulation.virtual_time import VirtualClock, run_in_virtual_time

SERVER = "simulated"
REST_S = 0.005
"""Between two turns of the control loop at least, which is what a busy server's takes."""
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

    async def run(self, name: str) -> Outcome:
        """From the first request until the last is answered and every replica has ended."""
        self._open()
        await self._parts.reconciler.recover()
        self._engine.watch(self._work.wake)
        self._journal.start()
        beside = [asyncio.create_task(each) for each in (self._turn_forever(), self._sample_forever())]
        if self._setting.fleet.fails_every_s:
            dice = np.random.default_rng(self._setting.seed)
            beside.append(asyncio.create_task(self._engine.fail_nodes(dice)))
        await self._send_all()
        await asyncio.sleep(max(0.0, self._trace.span_s - asyncio.get_running_loop().time()))
        for task in beside:
            task.cancel()
        for result in await asyncio.gather(*beside, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
        await self._plane.close()
        await self._journal.close()
        return self._outcome(name)

    def _open(self) -> None:
        setting = self._setting
        clock = VirtualClock(asyncio.get_running_loop())
        self._ledger = Ledger()
        store = self._ledger.as_store()
        self._engine = SimulatedEngine(setting.fleet)
        self._journal = Journal(store, clock)
        self._work = WorkQueue()
        self._routes = Routes(clock, max_queued=setting.max_queued, on_demand=self._work.add)
        self._records = Records(self._journal, store, SteadyClock(clock), SERVER, setting.tariff)
        self._parts: Parts = assemble(
            self._engine,
            TracedModels(self._trace).as_catalog(),
            store,
            self._journal,
            self._records,
            self._routes,
            clock,
            setting.policy,
            server_id=SERVER,
            quota_of=lambda account_id: Quota(),
            suspension_of=lambda account_id: None,
            launch_refusal=lambda account_id, begun: None,
            work=self._work,
        )
        self._plane = Plane(self._parts)
        self._clock = clock

    # --- the control loop ---

    async def _turn_forever(self) -> None:
        """As the reconciler's own loop, but what a turn takes is set, not measured: else no two runs were equal."""
        while True:
            self._work.changed.clear()
            self._parts.reconciler.step()
            await asyncio.sleep(REST_S)
            await self._work.wait(self._clock.monotonic(), self._setting.policy.tick_s)

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

    async def _ask(self, account: str, model_id: str, duration_s: float) -> None:
        began = self._clock.monotonic()
        try:
            route = await self._plane.ensure_route(account, model_id, self._capacity)
            self._cold += not route.targets
            for each in range(MAX_TRIES):
                self._retried += each > 0
                if await self._try(route, began, duration_s):
                    return
            self._failed[ReplicaLost.code] += 1
        except ModelyardError as error:
            self._failed[error.code] += 1

    async def _try(self, route: Route, began: float, duration_s: float) -> bool:
        """Whether the request was answered. Raises what the routes do."""
        self._waiting += 1
        try:
            target = await self._routes.acquire(route, self._setting.wait_s)
        finally:
            self._waiting -= 1
        self._most_replicas = max(self._most_replicas, len(route.targets))
        waited_s = self._clock.monotonic() - began
        link = cast(SimulatedLink, target.link)
        answered = False
        try:
            await link.serve(duration_s)
            answered = True
            self._waits_s.append(waited_s)
        except ReplicaLost:
            self._routes.lose(route, target)
        finally:
            self._routes.release(route, target, answered=answered)
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
            evictions=self._records.tallies.evictions,
            node_failures=engine.node_failures,
            byte_s=engine.byte_s,
            peak_bytes=engine.peak_bytes,
            fullest=engine.fullest,
            cost_nano=total(lines(self._ledger.instances.by_id.values())).amount_nano,
            most_replicas=self._most_replicas,
            samples=self._samples,
        )
