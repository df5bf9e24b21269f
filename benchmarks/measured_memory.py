"""The peak that a worker reports against what it has really added to the machine's memory, for five kinds of models."""

from __future__ import annotations

import asyncio

from benchmarks.kinds import KINDS, ensure_kind
from benchmarks.report import MIB, within

BATCH = 4
SECONDS = 10.0
LOOK_EVERY_S = 0.01


def run() -> bool:
    """Prints both figures of each model."""
    return asyncio.run(compare())


async def compare() -> bool:
    """One model after another, each alone in a worker of a nursery that has forked before."""
    from modelyard.engine.local import LocalEngine
    from modelyard.units import GIB
    from tests.engine.harness import Harness

    engine = LocalEngine(64 * GIB)
    await engine.start()
    try:
        while not engine.warm:
            await asyncio.sleep(LOOK_EVERY_S)
        harness = Harness(engine)
        await measure(harness, "classifier")  # so that the nursery has done all it does once
        return all([report(name, *await measure(harness, name)) for name in KINDS])
    finally:
        await engine.close()


async def measure(harness: object, name: str) -> tuple[int, int]:
    """(reported, real) peak in bytes, in batches of the largest size that the model takes."""
    from dataclasses import replace

    from modelyard.catalog.inspection import inspect_folder
    from modelyard.control.targets import Target
    from modelyard.errors import InvalidRequest
    from modelyard.jobs.benchmark import Sweep, confirm
    from modelyard.jobs.requests import ask_over
    from modelyard.records.replicas import ReplicaSpec
    from modelyard.tasks.registry import get_task
    from modelyard.tasks.shared.workload import workload
    from tests.engine.harness import Harness, new_id
    from tests.peaks import Watch, total_bytes

    assert isinstance(harness, Harness)
    task, folder = get_task(KINDS[name][0]), ensure_kind(name)
    what = inspect_folder(folder)
    batch = min(BATCH, task.max_batch)
    spec = ReplicaSpec(new_id(), f"kinds/{name}", str(folder), task.id, max_batch=batch, log_path="/dev/null")
    engine = harness.engine
    shared = [pid for pid in (engine.standby_pid, engine.nursery_pid) if pid is not None]  # type: ignore[attr-defined]
    before = total_bytes(shared)
    spec = replace(spec, runtime="diffusers" if what.library == "diffusers" else "transformers")
    harness.launch(spec)
    sightings = harness.engine.sightings()
    await harness.until(lambda: sightings[spec.replica_id].pid)
    pids = [*shared, *(pid for pid in [sightings[spec.replica_id].pid] if pid is not None)]
    watch = Watch(lambda: pids)
    watch.start()
    await harness.until(lambda: sightings[spec.replica_id].link)
    link = sightings[spec.replica_id].link
    assert link is not None
    ask = ask_over(Target(spec.replica_id, link, batch))

    async def reported() -> int | None:
        return sightings[spec.replica_id].peak_bytes

    for size in reversed(workload(task, what.max_length, what.library)):
        try:
            peaks = await confirm(ask, Sweep(size, {}, {}, batch), memory=reported, budget_s=SECONDS)
            break
        except InvalidRequest:  # a prompt that is too long for this tokenizer
            continue
    real = watch.finish() - before
    await harness.clear()
    return peaks.bytes or 0, real


def report(name: str, reported: int, real: int) -> bool:
    """Prints one comparison; whether it is as promised."""
    figures = f"{name:12} reported {reported / MIB:7.0f} MB, real {real / MIB:7.0f} MB"
    return within(figures, reported / real, 0.10)
