"""Models that the operator wants in bf16: how their memory is planned, and what was measured otherwise forgotten."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.catalog.cards import apply_measurement, make_card
from modelyard.catalog.folders import Folders
from modelyard.catalog.found import Found
from modelyard.catalog.inspection import inspect_folder
from modelyard.catalog.memory import LOADING_BYTES, WORKER_BASE_BYTES, WORKING_FRACTION
from modelyard.records.models import Measurement, ModelCard, Source
from modelyard.records.precision import BF16
from modelyard.records.replicas import ReplicaSpec
from tests.catalog.models import diffusers, model, write

PARAMETERS = 300_000_000
ASKED = frozenset({"acme/m"})


def found(tmp_path: Path, parameters: int = 1000) -> Found:
    inspection = inspect_folder(write(tmp_path / "acme/m", model()))
    return Found("acme/m", Source.FOLDER, replace(inspection, parameters=parameters), tmp_path / "acme/m")


def cards(tmp_path: Path, dtype: str = "BF16", value_bytes: int = 2) -> tuple[ModelCard, ModelCard]:
    """Of one model: as usual, and in bf16."""
    each = found(tmp_path, PARAMETERS)
    inspection = replace(each.inspection, weight_bytes=value_bytes * PARAMETERS, dtype=dtype)
    each = replace(each, inspection=inspection)
    return make_card(each), make_card(each, bf16=ASKED)


def test_half_the_memory_is_planned_and_room_to_work_in_as_usual(tmp_path: Path) -> None:
    _, half = cards(tmp_path)

    assert half.memory_bytes == WORKER_BASE_BYTES + 2 * PARAMETERS + WORKING_FRACTION * 4 * PARAMETERS


def test_files_of_another_type_are_held_beside_it_while_they_are_loaded(tmp_path: Path) -> None:
    widened, _ = cards(tmp_path)
    _, half = cards(tmp_path, "F32", 4)

    assert half.memory_bytes == widened.memory_bytes == WORKER_BASE_BYTES + (2 + 4) * PARAMETERS + LOADING_BYTES


def test_the_worker_is_told(tmp_path: Path) -> None:
    usual, half = cards(tmp_path)

    assert ReplicaSpec.of("r", half, tmp_path).precision == BF16
    assert ReplicaSpec.of("r", usual, tmp_path).precision is None


def test_a_measurement_counts_for_the_precision_it_was_made_in(tmp_path: Path) -> None:
    usual, half = cards(tmp_path)
    in_32, in_16 = Measurement(10**9, 2 * PARAMETERS), Measurement(10**8, 2 * PARAMETERS, precision=BF16)

    assert apply_measurement(usual, in_32).measured
    assert apply_measurement(half, in_16).measured
    assert not apply_measurement(half, in_32).measured
    assert not apply_measurement(usual, in_16).measured


@pytest.mark.parametrize("files", [diffusers(), model(config={"quantization_config": {"quant_method": "fp8"}})])
def test_others_stay_as_they_are(tmp_path: Path, files: dict[str, bytes]) -> None:
    write(tmp_path / "acme/m", files)
    each = Folders([tmp_path]).find("acme/m")
    assert each is not None

    assert make_card(each, bf16=ASKED) == make_card(each)
