"""A replica in llama.cpp: without torch, without a network, within its memory, and confined like any other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from modelyard.catalog.cards import make_card
from modelyard.catalog.found import Found
from modelyard.catalog.inspection import inspect_folder
from modelyard.records.models import ModelCard, Source
from modelyard.records.replicas import ReplicaSpec
from modelyard.units import MIB
from tests.builders import real
from tests.engine.harness import SECRET, Harness, finish, new_id

QUESTION = "What is the capital of France? Answer in one sentence."
ANSWER = "The capital of France is Paris."
MOST_BYTES = 300 * MIB


@pytest.fixture(scope="module")
def card() -> ModelCard:
    folder = real.smollm2_gguf().parent
    return make_card(Found("a/smollm2", Source.FOLDER, inspect_folder(folder), folder))


async def test_a_replica_answers_without_torch_and_listens_to_nobody(card: ModelCard, real: Harness) -> None:
    spec = replace(ReplicaSpec.of(new_id(), card, card.path), secret=SECRET)
    link = await real.boot(spec)

    *pieces, output = await finish(link.request({"text": QUESTION}, {"max_new_tokens": 20}, stream=True))

    assert output["content"] == "".join(pieces) == ANSWER
    pid = real.engine.sightings()[spec.replica_id].pid
    assert pid is not None
    mapped = Path(f"/proc/{pid}/maps").read_text()
    assert "xllamacpp" in mapped
    assert "libtorch" not in mapped
    assert psutil.Process(pid).net_connections("inet") == []
    peak_bytes = real.engine.sightings()[spec.replica_id].peak_bytes
    assert peak_bytes is not None
    assert card.inspection.weight_bytes is not None
    assert card.inspection.weight_bytes < peak_bytes < MOST_BYTES
    assert peak_bytes < card.memory_bytes, "more than was reserved"
