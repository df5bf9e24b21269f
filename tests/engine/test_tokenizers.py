"""Tokenizers that are made of another library than the usual, in a worker that is confined like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.records.replicas import ReplicaSpec
from tests.engine.harness import SECRET, Harness, finish, new_id


@pytest.fixture
def folder(model_folder: Callable[[str], Path]) -> Path:
    """Made before the engine's loop runs the test."""
    return model_folder("fsmt")


async def test_a_confined_worker_translates_with_moses_rules(folder: Path, real: Harness) -> None:
    spec = ReplicaSpec(new_id(), "tests/fsmt", str(folder), "translation", secret=SECRET)
    link = await real.boot(spec)
    (output,) = await finish(link.request({"text": "The house is wonderful."}, {"max_new_tokens": 5}, stream=False))
    assert isinstance(output, str)
    assert output
