"""What caches may take of what is set aside for a process."""

from __future__ import annotations

import pytest
import torch

from modelyard.catalog.memory import (
    WORKER_BASE_BYTES,
    WORKING_FLOOR_BYTES,
    WORKING_FRACTION,
    estimate_model_bytes,
    plan_device_bytes,
)
from modelyard.records.models import Inspection
from modelyard.units import GIB, MIB
from modelyard.worker.limits import memory_limited
from modelyard.worker.runtimes.token_memory import FEWEST_PASS_BYTES, PASS_SHARE, PROGRAM_BYTES, plan_cache

CPU = torch.device("cpu")


def test_caches_and_all_else_fit_into_what_is_set_aside() -> None:
    room = plan_cache(CPU, 500 * MIB, GIB)
    assert room.keeps
    assert room.cache_bytes == GIB - 60 * MIB - 500 * MIB - 50 * MIB


def test_the_plan_of_a_model_leaves_its_caches_what_it_has_for_a_batch() -> None:
    assert (PROGRAM_BYTES, FEWEST_PASS_BYTES, PASS_SHARE) == (WORKER_BASE_BYTES, WORKING_FLOOR_BYTES, WORKING_FRACTION)
    batch = 200 * MIB
    plan = estimate_model_bytes(Inspection(weight_bytes=400 * MIB, dtype="F32", batch_bytes=batch))
    assert plan_cache(CPU, 400 * MIB, plan).cache_bytes == pytest.approx(batch, rel=0.01)


def test_a_reservation_that_is_all_taken_has_room_for_short_texts() -> None:
    assert plan_cache(CPU, 500 * MIB, 480 * MIB).cache_bytes == 30 * MIB


def test_on_a_device_caches_stay_within_what_is_reserved_there() -> None:
    batch = 200 * MIB
    plan = plan_device_bytes(Inspection(weight_bytes=400 * MIB, dtype="F16", batch_bytes=batch))
    room = plan_cache(torch.device("cuda"), 400 * MIB, plan)
    assert (room.cache_bytes, room.keeps) == (pytest.approx(batch, rel=0.01), False)


def test_who_is_being_measured_keeps_nothing() -> None:
    with memory_limited(GIB):
        room = plan_cache(CPU, 10 * MIB, None)
    assert not room.keeps
    assert 0 < room.cache_bytes <= GIB
    assert plan_cache(CPU, 10 * MIB, None).keeps
