"""What 10,000 clusters cost that nobody uses: rows of an SQLite file, with nothing running.

Two real servers in turn, one with these clusters and one without: CPU, memory, cold boots. And one control plane in
this process, with an engine of tests, to measure the loop alone: the CPU time of changes among them, of its longest
step, and how soon it acts on what another process has written.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import psutil

from benchmarks.cold_boot import boot_over_http
from benchmarks.models import ensure_model
from benchmarks.report import MIB, at_most, spread
from modelyard.clock import SystemClock
from modelyard.records.clusters import Capacity
from modelyard.store.store import Store
from tests.control.control_plane import SMALL, ControlPlane, make_models
from tests.serving import Server

CLUSTERS = 10_000
LONG_AGO = timedelta(days=30)
BOOTED = "bench/gpt2-124m"
IDLE_S = 10.0
BOOTS = 9
CHANGES = 10
ROUNDS = 15
MOST_CORE_PERCENT = 2.0
MOST_ADDED_MB = 100.0
MOST_CHANGES_MS = 5.0
MOST_STEP_MS = 2.0
MOST_UNTIL_ACTED_MS = 50.0
MOST_BOOT_MS = 20.0


def run() -> bool:
    """Prints each figure beside its bound; whether all were kept."""
    with tempfile.TemporaryDirectory() as folder:
        kept = compare_servers(Path(folder))
        return asyncio.run(measure_loop(Path(folder))) and kept


def fill(store: Store, count: int = CLUSTERS) -> None:
    """Clusters that were last used long ago."""
    then = datetime.now(UTC) - LONG_AGO
    accounts = [store.accounts.ensure(f"account-{number}", then).id for number in range(10)]
    for number in range(count):
        store.clusters.put(accounts[number % 10], f"nobody/model-{number}", Capacity(0, 1, 1), 1800, then)


# --- two servers ---


def compare_servers(folder: Path) -> bool:
    """CPU, memory and cold boots, with and without the clusters."""
    models = ensure_model(BOOTED, "gpt2_124m")
    with ExitStack() as stack:
        alone, crowded = (start(stack, folder / name, models, count) for name, count in (("a", 0), ("b", CLUSTERS)))
        time.sleep(5)
        added_bytes = resident_bytes(crowded) - resident_bytes(alone)
        used = [[idle_share(server) for server in (alone, crowded)] for _ in range(3)]
        boots: dict[Server, list[float]] = {alone: [], crowded: []}
        for _ in range(BOOTS):
            for server, took_ms in boots.items():
                took_ms.append(boot_over_http(server))
    print(f"cold boot alone, and beside the clusters     {spread(boots[alone])} {spread(boots[crowded])}")
    print(f"CPU of a server without clusters             {median(without for without, _ in used):8.2f} % of a core")
    kept = at_most("CPU with them", median(share for _, share in used), MOST_CORE_PERCENT, "% of a core")
    kept &= at_most("memory that they add", added_bytes / MIB, MOST_ADDED_MB, "MB")
    slower_ms = median(boots[crowded]) - median(boots[alone])
    return at_most("a cold boot becomes slower by", slower_ms, MOST_BOOT_MS, "ms") and kept


def start(stack: ExitStack, folder: Path, models: Path, count: int) -> Server:
    """A server on a store with so many clusters, which has booted once."""
    prepared = Server(folder, models, "--rate-limit", "0")
    prepared.data_dir.mkdir(parents=True)
    with Store.open(f"sqlite:///{prepared.data_dir / 'modelyard.db'}") as store:
        fill(store, count)
    server = stack.enter_context(prepared)
    boot_over_http(server)
    return server


def resident_bytes(server: Server) -> int:
    """Of the gateway's process alone."""
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)


def idle_share(server: Server) -> float:
    """How much of a core the gateway's process takes while nobody asks, in percent."""
    assert server.process is not None
    process = psutil.Process(server.process.pid)
    before = sum(process.cpu_times()[:2])
    time.sleep(IDLE_S)
    return 100 * (sum(process.cpu_times()[:2]) - before) / IDLE_S


# --- the loop alone ---


async def measure_loop(folder: Path) -> bool:
    """What changes cost, how long a step holds the loop, and how soon a change is acted on."""
    import modelyard.tasks.registry  # noqa: F401 - a server has read its tasks before it acts on anything

    (folder / "loop").mkdir()
    database = folder / "loop" / "modelyard.db"
    with Store.open(f"sqlite:///{database}") as store:
        fill(store)
    models = make_models(folder / "models")
    control = ControlPlane(folder / "loop", models, database, clock=SystemClock())  # type: ignore[arg-type]
    async with control:
        steps_ms = sweep(control)
        with Store.open(f"sqlite:///{database}") as other:
            changes_ms = [await cost_of_changes(control, other, number) for number in range(ROUNDS)]
            await control.reconciler.start()
            acted_ms = [await until_acted_on(control, other) for _ in range(ROUNDS)]
    kept = at_most(f"{CHANGES} changes among them", median(changes_ms), MOST_CHANGES_MS, "ms of CPU")
    kept &= at_most("the longest step", max(steps_ms), MOST_STEP_MS, "ms of CPU")
    return at_most("a row written elsewhere is acted on within", max(acted_ms), MOST_UNTIL_ACTED_MS, "ms") and kept


def cpu_ms(work: Callable[[], None]) -> float:
    """What `work` takes of this thread's CPU time: neighbours do not count."""
    before = time.thread_time()
    work()
    return (time.thread_time() - before) * 1000


def sweep(control: ControlPlane) -> list[float]:
    """Has every cluster looked at, as after an error in the loop; what each step takes."""
    for managed in control.desired.all():
        control.work.add(managed.cluster.id)
    steps_ms = []
    control.work.changed.set()
    while control.work.changed.is_set():
        control.work.changed.clear()
        steps_ms.append(cpu_ms(control.reconciler.step))
    return steps_ms


async def cost_of_changes(control: ControlPlane, other: Store, number: int) -> float:
    """The CPU time of taking up ten changed timeouts, and of the step after that."""
    for cluster in [each.cluster for each in control.desired.all()[number :: CLUSTERS // CHANGES]]:
        other.clusters.update(cluster.id, timeout_s=900 + number, wake=False, now=datetime.now(UTC))
    before = time.process_time()
    await control.desired.read()
    control.reconciler.step()
    return (time.process_time() - before) * 1000


async def until_acted_on(control: ControlPlane, other: Store) -> float:
    """Milliseconds from a PUT by another process, once it is stored, to the launch of its replica."""
    launched = len(control.engine.launched)
    cluster, _ = await asyncio.to_thread(
        other.clusters.put, control.account, SMALL, Capacity(1, 1, 1), 1800, datetime.now(UTC)
    )
    stored = time.perf_counter()
    while len(control.engine.launched) == launched:
        await asyncio.sleep(0.0005)
    took_ms = (time.perf_counter() - stored) * 1000
    await asyncio.to_thread(other.clusters.delete, cluster.id)
    while cluster.id in control.desired.by_id:
        await asyncio.sleep(0.001)
    return took_ms
