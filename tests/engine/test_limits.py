"""Real workers that may hold and batch only so much, and what they say of an accelerator."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.engine.base import Phase
from modelyard.errors import InferenceFailed
from tests.builders.sized import text_classifier
from tests.engine.conftest import model_spec
from tests.engine.harness import Harness, ask, echo_spec

MIB = 1024**2
LONG = "Once upon a time there was a small fox. " * 3


async def test_a_replica_takes_as_many_requests_as_it_may_batch(real: Harness, tiny_gpt2: Path) -> None:
    spec = replace(model_spec(tiny_gpt2), max_batch=3)
    await real.boot(spec)
    assert real.engine.sightings()[spec.replica_id].slots == 3


async def test_what_a_worker_holds_on_an_accelerator_is_told(echo: Harness) -> None:
    plain, accelerated = echo_spec(), echo_spec("accelerated")
    for spec in (plain, accelerated):
        await echo.boot(spec)
    sightings = echo.engine.sightings()
    assert sightings[plain.replica_id].device_bytes is None
    assert sightings[accelerated.replica_id].device_bytes == 5 * 1024**3


async def test_a_model_above_its_memory_limit_says_so(real: Harness, tmp_path: Path) -> None:
    text_classifier(tmp_path / "large", hidden_size=256, num_hidden_layers=1, num_attention_heads=2, vocab_size=60_000)
    # Room for all that a boot needs beside the weights, which take 63 MiB.
    spec = replace(model_spec(tmp_path / "large"), task="text-classification", memory_limit_bytes=40 * MIB)
    real.launch(spec)
    sighting = await real.until_phase(spec.replica_id, Phase.GONE)
    assert sighting.reason is not None
    assert "memory" in sighting.reason
    assert sighting.refused  # it would meet its limit again


async def test_an_inference_above_the_memory_limit_fails_alone(real: Harness, tiny_gpt2: Path) -> None:
    link = await real.boot(replace(model_spec(tiny_gpt2), memory_limit_bytes=160 * MIB))
    with pytest.raises(InferenceFailed) as raised:
        await ask(link, [LONG] * 1000, max_new_tokens=2, num_beams=2)  # in one batch: without beams they take turns
    assert raised.value.data["out_of_memory"] is True
    assert raised.value.data["limit_bytes"] > raised.value.data["held_bytes"] > 0
    assert re.search(r"its replica holds \d+ MB, may hold \d+ MB", raised.value.message), raised.value.message
    assert await ask(link, "Once upon", max_new_tokens=2)
