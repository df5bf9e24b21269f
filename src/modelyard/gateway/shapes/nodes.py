"""The shapes of the machines that replicas run on, and of their accelerators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from modelyard.control.tallies import MemoryUse, NodeMemory
from modelyard.gateway.shapes.base import Shape, described


class Memory(Shape, frozen=True, kw_only=True):
    """Of a machine or an accelerator."""

    name: Annotated[str, described("Its name, of an accelerator such as cuda:0.")]
    memory_bytes: Annotated[int, described("What all replicas there may hold together, accelerators aside.")]
    reserved_bytes: Annotated[int, described("What is reserved for those there are, and for what makes files.")]
    held_bytes: Annotated[int, described("What replicas hold of it; of an accelerator, the most that they have held.")]
    accepting: Annotated[bool, described("Whether it takes new replicas.")]
    replicas: Annotated[int, described("How many there are; 0: it can be switched off, or taken out.")]


class Device(Memory, frozen=True, kw_only=True):
    """An accelerator of a machine."""


class Node(Memory, frozen=True, kw_only=True):
    """A machine that replicas run on."""

    devices: Annotated[Sequence[Device], described("Its accelerators.")]


class NodeBody(Shape, frozen=True, kw_only=True):
    """Whether a machine takes new replicas."""

    accepting: Annotated[
        bool,
        described("Whether it takes new replicas. Else what it runs moves to other machines, where there is room."),
    ]
    device: Annotated[
        str | None, described("An accelerator of it, such as cuda:0: what is asked is about that alone.")
    ] = None


def show_node(name: str, memory: NodeMemory) -> Node:
    """A node as the API has it."""
    devices = [Device(**fields_of(each, use)) for each, use in memory.devices.items()]
    return Node(**fields_of(name, memory), devices=devices)


def fields_of(name: str, memory: MemoryUse) -> dict[str, Any]:
    """What is told of a node and of a device alike."""
    return {
        "name": name,
        "memory_bytes": memory.budget,
        "reserved_bytes": memory.reserved,
        "held_bytes": memory.held,
        "accepting": memory.accepting,
        "replicas": memory.replicas,
    }
