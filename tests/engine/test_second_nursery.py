"""Replicas without torch: forked from a second nursery, and none the wiser when it dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from modelyard.records.replicas import ReplicaSpec
from modelyard.worker.second_nursery import SecondNursery
from tests.engine.conftest import Harness
from tests.engine.harness import SECRET, ask, eventually, is_alive, new_id

TEXT = "a wonderful story"


def spec_of(folder: Path, task: str, runtime: str = "onnx") -> ReplicaSpec:
    return ReplicaSpec(new_id(), f"tests/{folder.name}", str(folder), task, runtime=runtime, secret=SECRET)


@pytest.mark.parametrize(
    ("runtime", "task", "taken"),
    [
        ("onnx", "text-classification", True),
        ("onnx", "image-classification", True),
        ("onnx", "text-generation", False),
        ("onnx", "no-such-task", False),
        ("gguf", "chat", True),
        ("transformers", "text-classification", False),
    ],
)
def test_takes_what_needs_no_torch(runtime: str, task: str, taken: bool) -> None:
    assert SecondNursery(()).takes(spec_of(Path("model"), task, runtime)) is taken


@pytest.fixture
def folder(variant_folder: Callable[[str, str, str], Path]) -> Path:
    """Made before the engine's loop runs the test: making one takes seconds."""
    return variant_folder("bert_classifier", "text-classification", "onnx.8-bit")


async def test_replicas_without_torch_have_a_nursery_of_their_own_and_die_with_it(folder: Path, real: Harness) -> None:
    other = await real.boot()  # one with torch: neither minds the other
    spec = spec_of(folder, "text-classification")
    link = await real.boot(spec)
    answer = await ask(link, TEXT)
    pid = real.engine.sightings()[spec.replica_id].pid
    assert pid is not None
    mapped = Path(f"/proc/{pid}/maps").read_text()
    assert "onnxruntime" in mapped
    assert "libtorch" not in mapped
    second = psutil.Process(pid).ppid()
    assert psutil.Process(second).ppid() == real.engine.nursery_pid  # type: ignore[attr-defined]

    os.kill(second, signal.SIGKILL)

    await real.until(lambda: real.engine.sightings()[spec.replica_id].phase == "gone")
    await eventually(lambda: not is_alive(pid))
    again = await real.boot(spec_of(folder, "text-classification"))
    assert await ask(again, TEXT) == answer
    assert not other.closed
