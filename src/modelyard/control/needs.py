"""What a replica needs of a node and of its devices: as measured, or as planned where nobody has measured it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.catalog.adapters import loaded_bytes
from modelyard.catalog.memory import plan_device_bytes
from modelyard.engine.base import Device, Need, Place
from modelyard.records.models import ModelCard
from modelyard.units import gigabytes
from modelyard.worker.limits import plan_memory_limit

ON_DEVICES = frozenset({"transformers", "diffusers"})
"""Runtimes that compute on accelerators."""
SPLIT_TASKS = frozenset({"chat", "text-generation"})
"""Tasks whose models the transformers runtime lays on several devices, layer by layer."""
TRIAL_FACTOR = 2
"""So many times what is planned or known is reserved where a model is measured, as far as one device has it."""


def need_of(
    card: ModelCard,
    memory_bytes: int,
    devices: Sequence[Sequence[Device]],
    *,
    held_device_bytes: int = 0,
    is_trial: bool = False,
) -> Need:
    """What a replica of the model needs beside `memory_bytes` of its node.

    `devices`: of each node that has some. `held_device_bytes`: the most that its cluster's replicas have held on one.
    `is_trial`: it is measured. What nobody has measured is planned for a device where one, or several of a node
    together, can hold it, and else for none: then it is computed by the processor.
    """
    known = card.measured or bool(card.device_bytes) or not devices
    device_bytes = card.device_bytes if known else plan_for_devices(card)
    need = Need(memory_bytes, device_bytes and max(device_bytes, held_device_bytes), may_split(card))
    if not known and not any(holds(each, need) for each in devices):
        return Need(memory_bytes)
    if is_trial and need.device_bytes:
        largest = max((device.memory_bytes for each in devices for device in each), default=0)
        more = max(need.device_bytes, min(TRIAL_FACTOR * need.device_bytes, largest))
        return Need(memory_bytes, more, need.splits)
    return need


def plan_for_devices(card: ModelCard) -> int:
    """What a model that was never measured on a device would take there; 0: it uses none."""
    if card.measured:
        return card.device_bytes
    if card.base is not None:
        base_bytes = plan_for_devices(card.base)
        return base_bytes and base_bytes + loaded_bytes(card.inspection)
    return plan_device_bytes(card.inspection) if card.inspection.runtime in ON_DEVICES else 0


def may_split(card: ModelCard) -> bool:
    """Whether its weights may lie on several devices: whole models of the transformers library that write texts."""
    inspection = card.inspection
    plain = inspection.quantisation is None and card.base is None and not inspection.remote_code
    return inspection.runtime == "transformers" and plain and card.task in SPLIT_TASKS


def fewest_devices(need: Need, devices: Sequence[Device]) -> int:
    """How many of the devices a replica takes: one, or where none is large enough and it splits, as few as hold it in
    equal parts; where not even all of them do, all."""
    enough = (count for count, least in enumerate(sizes_of(devices), 1) if least >= need.share_bytes(count))
    return next(enough, max(1, len(devices))) if need.splits else 1


def holds(devices: Sequence[Device], need: Need) -> bool:
    """Whether the devices of one node, if they were empty, could hold what a replica needs of them."""
    count = fewest_devices(need, devices)
    return len(devices) >= count and sizes_of(devices)[count - 1] >= need.share_bytes(count)


def sizes_of(devices: Sequence[Device]) -> Sequence[int]:
    """Their memory, the largest first."""
    return sorted((device.memory_bytes for device in devices), reverse=True)


def plan_limit(need: Need, limit_bytes: int | None) -> int | None:
    """What a replica may allocate on its node: `limit_bytes`, where that is set. None with an accelerator: drivers
    reserve far more than they use."""
    return None if need.device_bytes else limit_bytes or plan_memory_limit(need.memory_bytes)


def reserved(need: Need, place: Place) -> str:
    """What is reserved, for the cluster's log."""
    words = gigabytes(need.memory_bytes)
    if place.devices:
        each = "each of " if len(place.devices) > 1 else ""
        words += f" and {gigabytes(need.share_bytes(len(place.devices)))} on {each}{', '.join(place.devices)}"
    return f"{words} reserved"
