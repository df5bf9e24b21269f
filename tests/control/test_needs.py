"""What replicas need of devices: as measured, as planned, on how many."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelyard.catalog.memory import plan_device_bytes
from modelyard.control.needs import fewest_devices, holds, may_split, need_of
from modelyard.engine.base import Device, Need
from modelyard.records.models import Adapter, Inspection, ModelCard, Source
from modelyard.units import GIB, MIB
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES

INSPECTION = Inspection(task="chat", weight_bytes=4 * GIB, dtype="BF16", batch_bytes=100 * MIB)
CARD = ModelCard("org/a", "chat", Source.HUB, 9 * GIB, INSPECTION)
PLANNED = DEVICE_CONTEXT_BYTES + 4 * GIB + int(0.1 * 4 * GIB) + 100 * MIB
LARGE = ((Device("cuda:0", 24 * GIB),),)


def devices(*sizes: float) -> list[Device]:
    return [Device(f"cuda:{number}", int(size * GIB)) for number, size in enumerate(sizes)]


def test_weights_are_planned_as_they_are_stored_with_what_the_driver_and_a_batch_take() -> None:
    assert plan_device_bytes(INSPECTION) == PLANNED
    wanted = replace(INSPECTION, dtype="F32", precision="bf16", loaded_bytes=2 * GIB)
    assert plan_device_bytes(wanted) == DEVICE_CONTEXT_BYTES + 2 * GIB + int(0.1 * 2 * GIB) + 100 * MIB
    unknown = plan_device_bytes(Inspection())
    assert unknown > DEVICE_CONTEXT_BYTES + 512 * MIB


def test_what_was_measured_counts_in_place_of_a_plan() -> None:
    assert need_of(CARD, 9, LARGE) == Need(9, PLANNED, True)
    assert need_of(replace(CARD, measured=True), 9, LARGE) == Need(9, 0, True), "it was measured on no device"
    assert need_of(replace(CARD, measured=True, device_bytes=5), 9, LARGE) == Need(9, 5, True)
    assert need_of(replace(CARD, measured=True, device_bytes=5), 9, LARGE, held_device_bytes=7) == Need(9, 7, True)
    assert need_of(replace(CARD, measured=True), 9, LARGE, held_device_bytes=7) == Need(9, 0, True)
    assert need_of(CARD, 9, ()) == Need(9, 0, True), "there is no device"


def test_what_would_fit_on_no_device_is_planned_for_none() -> None:
    assert need_of(CARD, 9, [devices(4, 3)]) == Need(9, PLANNED, True), "two devices hold it"
    assert need_of(CARD, 9, [devices(4), devices(2)]) == Need(9)
    assert need_of(replace(CARD, measured=True, device_bytes=30 * GIB), 9, LARGE).device_bytes == 30 * GIB


@pytest.mark.parametrize(("library", "device_bytes"), [("onnx", 0), ("gguf", 0), ("diffusers", PLANNED)])
def test_only_runtimes_that_compute_there_are_planned_for_devices(library: str, device_bytes: int) -> None:
    card = replace(CARD, inspection=replace(INSPECTION, library=library))
    assert need_of(card, 9, LARGE) == Need(9, device_bytes)


def test_an_adapter_needs_what_its_base_does_and_its_own_weights() -> None:
    own = Inspection(weight_bytes=MIB, dtype="F32", adapter=Adapter("org/a"))
    card = ModelCard("org/tuned", "chat", Source.HUB, GIB, own, base=CARD)
    assert need_of(card, 9, LARGE) == Need(9, PLANNED + MIB)
    measured = replace(CARD, measured=True, device_bytes=6 * GIB)
    assert need_of(replace(card, base=measured, device_bytes=6 * GIB), 9, LARGE) == Need(9, 6 * GIB)
    assert need_of(replace(card, base=replace(CARD, measured=True)), 9, LARGE) == Need(9)


def test_a_trial_is_given_more_as_far_as_one_device_has_it() -> None:
    assert need_of(CARD, 9, LARGE, is_trial=True).device_bytes == 2 * PLANNED
    assert need_of(CARD, 9, [devices(6)], is_trial=True).device_bytes == 6 * GIB
    assert need_of(CARD, 9, [devices(3, 3)], is_trial=True).device_bytes == PLANNED
    assert need_of(replace(CARD, measured=True), 9, LARGE, is_trial=True).device_bytes == 0


def test_whole_models_of_transformers_that_write_texts_may_lie_on_several_devices() -> None:
    assert may_split(CARD)
    others = [
        replace(CARD, task="text-classification"),
        replace(CARD, base=CARD),
        *(
            replace(CARD, inspection=replace(INSPECTION, **change))
            for change in ({"library": "diffusers"}, {"quantisation": "gptq"}, {"remote_code": True})
        ),
    ]
    assert not any(may_split(card) for card in others)


@pytest.mark.parametrize(
    ("gigabytes", "splits", "sizes", "count", "fits"),
    [
        (5, True, (4, 8, 4), 1, True),
        (8.1, True, (4, 8, 4, 8), 2, True),
        (8.1, False, (4, 8, 4, 8), 1, False),
        (7, True, (4, 4, 2), 2, True),
        (7.6, True, (4, 4, 2), 3, False),
        (7.6, True, (4, 4, 4), 3, True),
        (1, True, (), 1, False),
    ],
)
def test_as_few_devices_as_hold_it_in_equal_parts(
    gigabytes: float, splits: bool, sizes: tuple[int, ...], count: int, fits: bool
) -> None:
    need, there = Need(1, int(gigabytes * GIB), splits), devices(*sizes)
    assert (fewest_devices(need, there), holds(there, need)) == (count, fits)
