"""What a machine has for replicas."""

from __future__ import annotations

from modelyard.engine.machine import usable_cores, usable_memory_bytes


def test_cores_and_memory_are_those_of_this_process() -> None:
    assert usable_cores() >= 1
    assert 0 < usable_memory_bytes(0.5) < usable_memory_bytes(1.0)
