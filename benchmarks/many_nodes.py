"""What 10,000 clusters cost the event loop that have a replica each, on 100 nodes: how long it is held, and how soon a
change among them is acted on; while all of them boot, too.

One control plane in this process, on the machine's clock, with what writes the charts' history and with a look at all
figures now and then, and with the engine of simulations: its replicas are only reckoned with, so that all that is
measured is the loop.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from asyncio.events import Handle
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benchmarks.idle_clusters import cpu_ms
from benchmarks.report import at_most
from modelyard.clock import SystemClock
from modelyard.engine.base import Engine
from modelyard.gateway.history import HistoryRecorder
from modelyard.gateway.metrics import InferenceTallies
from modelyard.gateway.server import keep_pauses_short
from modelyard.lasting_objects import LastingObjects
from modelyard.records.clusters import Capacity
from modelyard.simulation.engine import Fleet, SimulatedEngine
from modelyard.store.store import Store
from modelyard.units import GIB
from tests.catalog.models import model, write
from tests.control.control_plane import SMALL, ControlPlane, make_models

ACCOUNTS, MODELS, NODES = 100, 100, 100
FLEET = Fleet(nodes=NODES, node_bytes=64 * GIB, start_s=0.05, load_bytes_per_s=1000 * GIB, fetch_bytes_per_s=1000 * GIB)
MOST_HELD_MS = 2.0
MOST_UNTIL_ACTED_MS = 50.0
WATCHED_S = 12.0
CHANGES = 15
BOOTED_WITHIN_S = 900.0


def run() -> bool:
    """Prints each figure beside its bound; whether all were kept."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(measure(Path(folder)))


def make_engine(*arguments: object, **more: object) -> Engine:
    """The fleet, whatever nodes a test would have."""
    return SimulatedEngine(FLEET)


class Held:
    """How long the loop was held, in milliseconds of CPU time: by each thing that it did, with whose that was, of which
    collections of garbage in its thread are a part; and by each collection in any thread, for which all others wait."""

    def __init__(self) -> None:
        self.turns: list[tuple[float, str]] = []
        self.collections_ms: list[float] = [0.0]
        self._began = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Measures all that the loop does within the block."""
        run_as_it_is = Handle._run

        def run_measured(handle: Handle) -> None:
            task = getattr(handle._callback, "__self__", None)
            name = task.get_name() if isinstance(task, asyncio.Task) else getattr(handle._callback, "__qualname__", "")
            self.turns.append((cpu_ms(lambda: run_as_it_is(handle)), name))

        Handle._run = run_measured  # type: ignore[method-assign]
        gc.callbacks.append(self._note_collection)
        try:
            yield
        finally:
            gc.callbacks.remove(self._note_collection)
            Handle._run = run_as_it_is  # type: ignore[method-assign]

    def _note_collection(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.collections_ms.append((time.thread_time() - self._began) * 1000)

    def report(self, when: str) -> bool:
        """Prints the longest of each; whether none takes longer than it may. Forgets them."""
        steps_ms = [took_ms for took_ms, name in self.turns if name == "reconciler"]
        long = sum(took_ms > MOST_HELD_MS for took_ms, _ in self.turns)
        longest_ms, whose = max(self.turns)
        print(f"{len(steps_ms)} steps {when} of {median(steps_ms):.2f} ms of CPU, {max(steps_ms):.2f} the longest")
        print(f"{len(self.turns)} turns of the loop, {long} longer than they may be, the longest that of: {whose}")
        kept = at_most(f"the loop held {when}", longest_ms, MOST_HELD_MS, "ms of CPU")
        kept &= at_most(f"the longest collection {when}", max(self.collections_ms), MOST_HELD_MS, "ms of CPU")
        self.turns, self.collections_ms = [], [0.0]
        return kept


async def measure(folder: Path) -> bool:
    """Boots all, then watches the loop at rest and among changes."""
    import modelyard.tasks.registry  # noqa: F401 - a server has read its tasks before it acts on anything

    models = make_models(folder / "models")
    for number in range(MODELS):
        write(models / f"many/model-{number}", model(parameters=1000))
    database = folder / "modelyard.db"
    with Store.open(f"sqlite:///{database}") as store:
        now = datetime.now(UTC)
        for number in range(ACCOUNTS):
            account = store.accounts.ensure(f"account-{number}", now).id
            for each in range(MODELS):
                store.clusters.put(account, f"many/model-{each}", Capacity(1, 1, 1), 1800, now)
    put_by = LastingObjects().note_ready
    control = ControlPlane(
        folder,
        models,
        database,
        clock=SystemClock(),  # type: ignore[arg-type]
        make_engine=make_engine,
        on_ready=put_by,
    )
    async with control:
        held = Held()
        history = HistoryRecorder(
            InferenceTallies(), control.plane, control.journal, control.store.history, control.clock
        )
        recording = asyncio.create_task(history.record_forever(), name="history")
        began = time.perf_counter()
        await control.reconciler.start()
        keep_pauses_short()  # as a server's
        with Store.open(f"sqlite:///{database}") as other:
            with held.watched():
                await until_all_are_ready(control)
                print(f"all are ready after {time.perf_counter() - began:.0f} s")
                kept = held.report("while 10,000 replicas boot")
                await asyncio.sleep(WATCHED_S)
                await control.plane.figures()
                await control.plane.overview()
                acted_ms = [await until_acted_on(control, other) for _ in range(CHANGES)]
            kept &= held.report("beside 10,000 replicas")
        recording.cancel()
    return at_most("a row written elsewhere is acted on within", max(acted_ms), MOST_UNTIL_ACTED_MS, "ms") and kept


async def until_all_are_ready(control: ControlPlane) -> None:
    """Returns when every cluster has its replica."""
    waiting = deque(control.desired.all())
    async with asyncio.timeout(BOOTED_WITHIN_S):
        while waiting:
            while waiting and waiting[0].route.targets:
                waiting.popleft()
            await asyncio.sleep(0.05)


async def until_acted_on(control: ControlPlane, other: Store) -> float:
    """Milliseconds from a PUT by another process, once it is stored, to the launch of its replica."""
    engine = control.engine
    launched = engine.launches  # type: ignore[attr-defined]
    cluster, _ = await asyncio.to_thread(
        other.clusters.put, control.account, SMALL, Capacity(1, 1, 1), 1800, datetime.now(UTC)
    )
    stored = time.perf_counter()
    while engine.launches == launched:  # type: ignore[attr-defined]
        await asyncio.sleep(0.0005)
    took_ms = (time.perf_counter() - stored) * 1000
    await asyncio.to_thread(other.clusters.delete, cluster.id)
    while cluster.id in control.desired.by_id:
        await asyncio.sleep(0.001)
    return took_ms
