"""The shapes of the machines that replicas run on, and of their accelerators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from modelyard.control.tallies import MemoryUse, NodeMemory
from modelyard.gateway.shapes.base import Shape, described


class Device(Shape, frozen=True, kw_only=True):
    """An accelerator of a machine."""

    name: Annotated[str, described("Its name, such as cuda:0.")]
    memory_bytes: Annotated[int, described("What all replicas there may hold together.")]
    reserved_bytes: Annotated[int, described("What is reserved for those there are.")]
    held_bytes: Annotated[int, described("The most that they have held of it.")]
    accepting: Annotated[bool, described("Whether it takes new replicas.")]
    replicas: Annotated[int, described("How many hold some of it; 0: it can be taken out.")]


class Node(Shape, frozen=True, kw_only=True):
    """A machine that replicas run on."""

    name: Annotated[str, described("Its name.")]
    memory_bytes: Annotated[int, described("What all replicas there may hold together, accelerators aside.")]
    reserved_bytes: Annotated[int, described("What is reserved for those there are, and for what makes files.")]
    held_bytes: Annotated[int, described("What replicas hold of it.")]
    accepting: Annotated[bool, described("Whether it takes new replicas.")]
    replicas: Annotated[int, described("How many it runs; 0: it can be switched off.")]
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
    return Node(
        name=name,
        memory_bytes=memory.budget,
        reserved_bytes=memory.reserved,
        held_bytes=memory.held,
        accepting=memory.accepting,
        replicas=memory.replicas,
        devices=[show_device(each, device) for each, device in memory.devices.items()],
    )


def show_device(name: str, memory: MemoryUse) -> Device:
    """A node's device as the API has it."""
    return Device(
        name=name,
        memory_bytes=memory.budget,
        reserved_bytes=memory.reserved,
        held_bytes=memory.held,
        accepting=memory.accepting,
        replicas=memory.replicas,
    )
