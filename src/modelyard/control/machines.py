"""What all nodes come to together, reckoned once for as long as they are the same. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from modelyard.control.fairness import whole_of
from modelyard.engine.base import Device, Need, Node, Place


@dataclass(frozen=True, slots=True)
class Machines:
    """All nodes there are.

    `accepting`: those that take new replicas; `positions`: by name, each of these with its place among all;
    `largest_bytes`: the memory of the largest of these; `devices`: of each of these that has some. `whole`: the memory
    of all; `cores`: of all, without end where nobody knows; `emptied`: the nodes, and the single devices, whose
    replicas are to move.
    """

    nodes: Sequence[Node]
    accepting: Sequence[Node]
    positions: Mapping[str, tuple[int, Node]]
    largest_bytes: int
    whole: Need
    cores: float
    devices: Sequence[Sequence[Device]]
    emptied: frozenset[Place]

    @classmethod
    def of(cls, nodes: Sequence[Node]) -> Machines:
        """These."""
        accepting = [node for node in nodes if node.accepting]
        return cls(
            nodes,
            accepting,
            {node.name: (position, node) for position, node in enumerate(nodes) if node.accepting},
            max((node.memory_bytes for node in accepting), default=0),
            whole_of(nodes),
            sum(node.cores or math.inf for node in nodes),
            tuple(node.devices for node in accepting if node.devices),
            frozenset(place for node in nodes for place in emptied_of(node)),
        )


def emptied_of(node: Node) -> Iterator[Place]:
    """The node, if it is emptied, and those of its devices that are."""
    if node.emptied:
        yield Place(node.name)
    yield from (Place(node.name, (device.name,)) for device in node.devices if not device.accepting)
