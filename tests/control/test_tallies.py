"""What metrics tell of control: memory by node, whoever has it reserved."""

from __future__ import annotations

from modelyard.control.placement import MemoryHolder
from modelyard.control.tallies import NodeMemory, memory_of
from modelyard.engine.base import Node, Place


def test_all_that_is_reserved_on_a_node_is_counted() -> None:
    jobs = [MemoryHolder(name, name, 10, None, place=Place("here")) for name in ("one", "two")]
    found = memory_of([Node("here", 100), Node("there", 50)], [], jobs, {})
    assert found == {"here": NodeMemory(100, 20, 0), "there": NodeMemory(50, 0, 0)}
