"""The shapes of the machines that replicas run on, and of their accelerators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from modelyard.clock import iso
from modelyard.control.tallies import Eviction, MemoryUse, NodeMemory, ReplicaUse
from modelyard.gateway.shapes.base import Shape, described, moment
from modelyard.gateway.shapes.clusters import Replica, replica_fields


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


class AccountReplica(Replica, frozen=True, kw_only=True):
    """One instance, and whose it is."""

    account_id: Annotated[str, described("The account that it runs for.")]
    model_id: Annotated[str, described("The model.")]


class EvictedReplica(Shape, frozen=True, kw_only=True):
    """An idle instance that had to leave its machine."""

    at: Annotated[str, moment("When.")]
    id: Annotated[str, described("The instance.")]
    account_id: Annotated[str, described("The account that it ran for.")]
    model_id: Annotated[str, described("The model.")]
    node: Annotated[str, described("The machine.")]
    devices: Annotated[Sequence[str], described("The accelerators there that it used.")]
    reserved_bytes: Annotated[int, described("The memory that became free.")]
    reserved_device_bytes: Annotated[int, described("The same of accelerators, together.")]
    reason: Annotated[str, described("Why, in words.")]


class Occupancy(Shape, frozen=True, kw_only=True):
    """Who holds what on all machines."""

    nodes: Annotated[Sequence[Node], described("The machines.")]
    replicas: Annotated[Sequence[AccountReplica], described("All instances, of whichever account.")]
    evicted: Annotated[
        Sequence[EvictedReplica],
        described("The newest that had to leave for others since the server's start, the last one first."),
    ]


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


def show_occupancy(
    nodes: Iterable[tuple[str, NodeMemory]], uses: Iterable[ReplicaUse], evictions: Sequence[Eviction]
) -> Occupancy:
    """All machines as the operator sees them."""
    return Occupancy(
        nodes=[show_node(name, memory) for name, memory in nodes],
        replicas=[
            AccountReplica(**replica_fields(use), account_id=use.account_id, model_id=use.model_id) for use in uses
        ],
        evicted=[show_eviction(eviction) for eviction in reversed(evictions)],
    )


def show_eviction(eviction: Eviction) -> EvictedReplica:
    """One that had to leave."""
    return EvictedReplica(
        at=iso(eviction.at),
        id=eviction.replica_id,
        account_id=eviction.account_id,
        model_id=eviction.model_id,
        node=eviction.place.node,
        devices=list(eviction.place.devices),
        reserved_bytes=eviction.need.memory_bytes,
        reserved_device_bytes=eviction.need.device_bytes,
        reason=eviction.reason,
    )


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
