"""A benchmark of a real model in real workers."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from modelyard.control.targets import Target
from modelyard.jobs.benchmark import conclude, confirm, sweep
from modelyard.jobs.requests import ask_over
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.workload import workload
from tests.engine.conftest import model_spec
from tests.engine.harness import Harness

BUDGET_S = 1.0


async def test_a_tiny_model_is_measured_from_end_to_end(real: Harness, tiny_gpt2: Path) -> None:
    task = get_task("text-generation")
    told: list[str] = []
    spec = model_spec(tiny_gpt2)
    first = await real.boot(spec)
    joins = real.engine.sightings()[spec.replica_id].joins
    found = await sweep(
        ask_over(Target("replica", first, 1)),
        workload(task, 128),
        streams=task.streams,
        max_batch=real.engine.sightings()[spec.replica_id].slots,
        joins=joins,
        budget_s=BUDGET_S,
        on_progress=told.append,
    )
    assert joins  # its texts begin while others are written
    await real.clear()
    fresh = replace(model_spec(tiny_gpt2), max_batch=found.knee)
    link = await real.boot(fresh)

    async def held() -> int | None:
        return real.engine.sightings()[fresh.replica_id].peak_bytes

    at_first = await held()
    peaks = await confirm(
        ask_over(Target("replica", link, 1)),
        found,
        memory=held,
        joins=joins,
        budget_s=BUDGET_S,
        on_progress=told.append,
    )
    measured = conclude(found, load_s=0.2, peaks=peaks)
    assert list(measured.latency_ms) == ["16 tokens", "32 tokens"]
    assert measured.largest == "32 tokens"
    assert measured.streams
    assert measured.first_token_ms is not None
    assert measured.first_token_ms > 0
    assert measured.tokens_per_s is not None
    assert measured.tokens_per_s >= 32 * measured.requests_per_s
    assert measured.knee in (1, 2, 4, 8, 16)
    assert measured.peak_bytes is not None
    assert at_first is not None
    assert measured.peak_bytes_alone is not None
    assert measured.peak_bytes >= measured.peak_bytes_alone > at_first
    assert real.engine.sightings()[fresh.replica_id].slots == measured.knee
    notes = json.loads(json.dumps(asdict(measured)))["notes"]
    assert all("there was no time left" in note for note in notes), notes  # of a busy machine
    assert told[0] == "trying 16 tokens"
    assert told[-1].startswith("measuring memory: 32 tokens")
