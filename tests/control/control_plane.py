"""A whole control plane without a server: real store, catalog and journal, a fake engine, a clock moved by hand.

The loop is turned by the test: `step` once, or `until` something is so. Requests are made on the routes, as the
gateway does.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from modelyard.accounts.funds import UNCOUNTED_S
from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.hub import Hub
from modelyard.clock import SteadyClock
from modelyard.control.clusters import Report
from modelyard.control.journal import Journal
from modelyard.control.lease import Leadership, LeaseTimes
from modelyard.control.parts import assemble
from modelyard.control.plane import Plane
from modelyard.control.policy import Policy
from modelyard.control.preparation import Preparing
from modelyard.control.records import Records
from modelyard.control.replicas import ManagedCluster, Replica
from modelyard.control.routes import Route, Routes
from modelyard.control.states import ReplicaState
from modelyard.control.targets import Target
from modelyard.control.work_queue import WorkQueue
from modelyard.engine.base import Node
from modelyard.errors import ModelyardError, PaymentRequired
from modelyard.records.accounts import Quota
from modelyard.records.clusters import Changes
from modelyard.records.instances import Instance, Tariff
from modelyard.records.models import Measurement
from modelyard.store.store import Store
from modelyard.units import GIB
from tests.catalog.models import model, write
from tests.catalog.test_adapters import adapter
from tests.clock import HandClock
from tests.engine.fake import FakeEngine
from tests.engine.harness import eventually
from tests.loop import turns

MIB = 1024**2
SMALL = "tiny/small"
SMALL_BYTES = 92 * MIB + 20_000
"""A little more than each small model needs."""
TWIN = "tiny/twin"
TUNED = ("tiny/tuned-1", "tiny/tuned-2")
"""Adapters of SMALL."""
TUNED_BYTES = 2000
"""What each needs in a replica of SMALL."""
THIRD = "tiny/third"
BIG = "tiny/big"
"""Needs more than one small one, less than two."""
DEADLINE_S = 200.0
LEASE_TIMES = LeaseTimes(lease_s=100_000.0, ask_s=0.01)
"""A lease ends when a test has it end; the clock is moved by hand."""


def make_models(root: Path) -> Path:
    """The models of these tests: files as `save_pretrained` writes them, with next to nothing in them."""
    for model_id in (SMALL, TWIN, THIRD):
        write(root / model_id, model(parameters=1000))
    for number, model_id in enumerate(TUNED):
        write(root / model_id, adapter(SMALL, lora_alpha=8, peft_version=f"0.{number}"))
    write(root / BIG, model(parameters=10_000_000, config={"n_layer": 2}))
    return root


@dataclass(eq=False)
class Request:
    """One request from its arrival to its answer."""

    control: ControlPlane
    managed: ManagedCluster
    task: asyncio.Task[Target]
    target: Target | None = None

    @property
    def waits(self) -> bool:
        return not self.task.done()

    async def served(self) -> Target:
        """Turns the loop until it has a replica."""
        await self.control.until(self.task.done)
        self.target = await self.task
        return self.target

    def answer(self) -> None:
        """It was answered."""
        assert self.target is not None
        self.control.routes.release(self.managed.route, self.target, answered=True)

    async def done(self) -> None:
        await self.served()
        self.answer()


@dataclass(eq=False)
class ControlPlane:
    """One server's control plane. `folder` survives it: another ControlPlane on the same folder is the next server.

    `nodes`: those of its engine; by default one, `node`, with `memory_bytes`. `measured`: what is
    known of models. `url`: a database to use rather than a
    file in the folder; `refusals`: account id → why it may run nothing; `most_begun`: instances that funds last for.
    `operator`: "ada" when that account is the operator's. `several`: it is one of several servers on a PostgreSQL, and
    leads from its opening on, until a test says otherwise. `on_ready`: see `assemble`.
    """

    folder: Path
    models: Path
    database: Path
    memory_bytes: int = 8 * GIB
    policy: Policy = field(default_factory=Policy)
    clock: HandClock = field(default_factory=HandClock)
    make_engine: Callable[..., Any] = FakeEngine
    node: str = "fake"
    nodes: Sequence[Node] = ()
    measured: dict[str, Measurement] = field(default_factory=dict)
    hub: Hub | None = None
    quotas: dict[str, Quota] = field(default_factory=dict)
    tariff: Tariff | None = None
    url: str | None = None
    server_id: str = "srv_ours"
    refusals: dict[str, ModelyardError] = field(default_factory=dict)
    most_begun: int = 1000
    operator: str = ""
    several: bool = False
    on_ready: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        file = self.folder / "modelyard.db"
        if self.url is None and not file.exists():
            shutil.copyfile(self.database, file)
        self.store = Store.open(self.url or f"sqlite:///{file}")
        stack.callback(self.store.close)
        self.account = self.store.accounts.ensure("ada", self.clock.now()).id
        self.other_account = self.store.accounts.ensure("bob", self.clock.now()).id
        self.catalog = Catalog(Folders([self.models]), self.hub, learned=self.learned)
        self.engine = self.make_engine(
            self.nodes or [Node(self.node, self.memory_bytes)], fetch=self.catalog.ensure_files
        )
        await self.engine.start()
        stack.push_async_callback(self.engine.close)
        led = await self._lead(stack) if self.several else self.store
        self.journal = Journal(self.store, self.clock, retry_delay_s=0, led=led)
        self.journal.start()
        stack.push_async_callback(self.journal.close)
        self.work = WorkQueue()
        self.changed = self.work.changed
        self.engine.watch(self.work.wake)
        self.routes = Routes(self.clock, max_queued=100, on_demand=self.work.add)
        parts = assemble(
            self.engine,
            self.catalog,
            led,
            self.journal,
            Records(self.journal, led, SteadyClock(self.clock), self.server_id, self.tariff),
            self.routes,
            self.clock,
            self.policy,
            server_id=self.server_id,
            quota_of=self.quota_of,
            suspension_of=self.refusals.get,
            launch_refusal=self.launch_refusal,
            work=self.work,
            operator_id=self.account if self.operator == "ada" else "",
            leads=lambda: not self.several or self.leadership.held,
            on_ready=self.on_ready,
        )
        self.preparations, self.desired = parts.preparations, parts.desired
        self.reconciler, self.clusters = parts.reconciler, parts.clusters
        self.plane = Plane(parts)
        await self.reconciler.recover()
        stack.push_async_callback(self.plane.close)
        self._asked: list[asyncio.Task[Target]] = []
        stack.push_async_callback(self._leave)

    async def _lead(self, stack: AsyncExitStack) -> Store:
        """The store as the leader writes to it."""
        self.leadership = Leadership(self.store.leases, self.server_id, self.server_id, self.clock, LEASE_TIMES)
        stack.callback(self.leadership.close)
        await self.leadership.take()
        await self.engine.lead(self.leadership.token)
        return self.store.led_with(self.leadership.token)

    def learned(self, ids: Sequence[str]) -> dict[str, Measurement]:
        """What is in `measured`."""
        return {name: self.measured[name] for name in ids if name in self.measured}

    def launch_refusal(self, account_id: str, begun: Iterable[tuple[int, float]]) -> ModelyardError | None:
        """Refuses when more than `most_begun` would have begun and not be counted yet."""
        few = sum(ready_s < UNCOUNTED_S for _, ready_s in begun) <= self.most_begun
        return None if few else PaymentRequired("there is not enough for another instance")

    def quota_of(self, account_id: str) -> Quota:
        """What is in `quotas`; else no limit."""
        return self.quotas.get(account_id, Quota())

    async def _leave(self) -> None:
        """Every client goes."""
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)

    async def kill(self) -> None:
        """What is left of a server after SIGKILL: nothing is recorded any more, nothing is stopped in order."""
        await self.journal.flush()
        await self.journal.close()
        self.store.close()

    async def drop(self) -> None:
        """The same at any moment, in the middle of whatever it does: it writes, launches and stops nothing more."""
        await self.engine.close()
        database = self.store._database
        database._closed.set()
        if self.journal._task is not None:
            self.journal._task.cancel()
            self.journal._task = None
        await self._leave()
        await eventually(lambda: database._engine.pool.checkedout() == 0)  # what was sent is carried out
        self.store.close()

    # --- the loop ---

    def step(self, after_s: float = 0.0) -> None:
        """One turn of the loop, some time later."""
        self.clock.advance(after_s)
        self.reconciler.step()

    async def settle(self) -> None:
        """Turns the loop until nothing is going on that ends by itself."""
        quiet = 0
        while quiet < 3:
            self.changed.clear()
            self.step()
            await turns(20)
            await self.journal.flush()
            if self.is_looking_up():
                async with asyncio.timeout(DEADLINE_S):
                    await self.changed.wait()
            quiet = 0 if self.changed.is_set() else quiet + 1

    def is_looking_up(self) -> bool:
        """Whether a model's files are being looked for, on a thread that says when it is done; downloads aside, which
        a test may hold up."""
        ids = {managed.cluster.model_id for managed in self.desired.all()}
        return any(
            isinstance(self.preparations.find(model_id), Preparing) and not self.preparations.is_downloading(model_id)
            for model_id in ids
        )

    async def until(self, condition: Callable[[], Any]) -> None:
        """Turns the loop until `condition` holds, whenever something changed."""
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                self.step()
                if not condition() and not self.changed.is_set():
                    change = asyncio.create_task(self.changed.wait())
                    await asyncio.wait({change}, timeout=0.02)  # what changes nothing that is watched: a cancelled task
                    change.cancel()

    # --- what clients do ---

    async def put(self, model_id: str = SMALL, account: str | None = None, /, **body: Any) -> ManagedCluster:
        """PUT; `min`, `desired` and `max` are the capacity's."""
        return await self.clusters.put(account or self.account, model_id, self._changes(body))

    async def patch(self, model_id: str = SMALL, /, **body: Any) -> ManagedCluster:
        return await self.clusters.patch(self.account, model_id, self._changes(body))

    async def delete(self, model_id: str = SMALL) -> None:
        """DELETE, with the loop turning meanwhile."""
        task = asyncio.create_task(self.clusters.delete(self.account, model_id))
        task.add_done_callback(lambda _: self.changed.set())
        await self.until(task.done)
        await task

    async def up(self, model_id: str = SMALL, account: str | None = None, /, **body: Any) -> ManagedCluster:
        """PUT, and wait until all the replicas it wants are ready."""
        managed = await self.put(model_id, account, **body)
        await self.until(lambda: len(managed.route.targets) == managed.cluster.capacity.desired)
        return managed

    async def ask(self, model_id: str = SMALL, account: str | None = None, deadline_s: float = 30.0) -> Request:
        """POST: a request that has arrived and holds a slot, or waits for one."""
        managed = await self.clusters.ensure(account or self.account, model_id)
        if managed.failure is not None:
            self.desired.revive(managed)
        task = asyncio.create_task(self.routes.acquire(managed.route, deadline_s))
        task.add_done_callback(lambda _: self.changed.set())
        self._asked.append(task)
        await turns(2)
        request = Request(self, managed, task)
        if task.done() and not task.cancelled() and task.exception() is None:
            request.target = task.result()
        return request

    async def acquire(self, route: Route) -> Target:
        """A slot on a route, with the loop turning meanwhile."""
        task = asyncio.create_task(self.routes.acquire(route, DEADLINE_S))
        await self.until(task.done)
        return await task

    async def requests(self, count: int, model_id: str = SMALL) -> list[Request]:
        return [await self.ask(model_id) for _ in range(count)]

    def report(self, managed: ManagedCluster) -> Report:
        return self.clusters.report(managed)

    # --- what there is to see ---

    def states(self, managed: ManagedCluster) -> list[str]:
        return sorted(managed.states())

    def only(self, managed: ManagedCluster) -> Replica:
        """Its one replica."""
        (replica,) = managed.replicas.values()
        return replica

    def ready(self, managed: ManagedCluster) -> list[str]:
        """The ids of its ready replicas."""
        return [each.id for each in managed.replicas.values() if each.state is ReplicaState.READY]

    def places(self, managed: ManagedCluster) -> list[str]:
        """Where its replicas are, in order."""
        places = [replica.place for replica in managed.replicas.values() if replica.place is not None]
        return sorted(" ".join((each.node, *each.devices)) for each in places)

    def reserved_bytes(self) -> int:
        """What all replicas hold."""
        return sum(r.reserved_bytes for s in self.desired.all() for r in s.replicas.values())

    async def events(self, model_id: str = SMALL, account: str | None = None) -> list[str]:
        """The cluster's log."""
        await self.journal.flush()
        return [event.message for event in self.store.events.list(account or self.account, model_id, limit=1000)]

    async def ledger(self) -> list[Instance]:
        """Every life there was."""
        await self.journal.flush()
        return list(self.store.instances.list(None))

    @staticmethod
    def _changes(body: dict[str, Any]) -> Changes:
        names = {"timeout": "timeout_s", "status": "enabled"}
        values = {**body, **({"status": body["status"] == "on"} if "status" in body else {})}
        return Changes(**{names.get(name, name): value for name, value in values.items()})


MakeControl = Callable[..., ControlPlane]
