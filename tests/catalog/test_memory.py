from dataclasses import replace

import pytest

from modelyard.catalog.memory import (
    MIB,
    UNKNOWN_WEIGHT_BYTES,
    WORKER_BASE_BYTES,
    WORKING_FLOOR_BYTES,
    estimate_memory_bytes,
    estimate_model_bytes,
    plan_batch_bytes,
)
from modelyard.records.models import Inspection


def test_weights_a_tenth_for_work_and_a_worker() -> None:
    assert estimate_memory_bytes(500 * MIB, "F32") == (500 + 50 + 60) * MIB


def test_half_precision_doubles_and_is_held_as_it_is_stored_while_it_is_loaded() -> None:
    assert estimate_memory_bytes(500 * MIB, "BF16") == (500 + 1000 + 16 + 60) * MIB
    assert estimate_memory_bytes(500 * MIB, "F16") == (500 + 1000 + 16 + 60) * MIB


LLAMA = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
}
"""SmolLM2-135M."""


def test_a_batch_takes_what_its_tokens_take() -> None:
    kept = 2 * 30 * 3 * 64

    assert plan_batch_bytes(LLAMA, 8192, generates=False) == 4 * 576 * 17 * 576 * 4
    assert plan_batch_bytes(LLAMA, 8192, generates=True) == 4 * 576 * (17 * 576 + 2 * kept) * 4
    assert plan_batch_bytes({"text_config": LLAMA}, None, generates=True) == plan_batch_bytes(
        LLAMA, 8192, generates=True
    )
    assert plan_batch_bytes(LLAMA, 144, generates=True) * 4 == plan_batch_bytes(LLAMA, 576, generates=True)


def test_other_names_of_the_sizes_are_known_and_none_plan_nothing() -> None:
    gpt2 = {"n_embd": 64, "n_layer": 2, "n_head": 4}

    assert plan_batch_bytes(gpt2, 10, generates=True) == 4 * 10 * (17 * 64 + 2 * 2 * 2 * 64) * 4
    assert plan_batch_bytes({"hidden_size": "wide", "num_hidden_layers": [2]}, 10, generates=True) == 0


@pytest.mark.parametrize("parameters", [10_000_000, 300_000_000])
def test_weights_of_fewer_bits_need_the_same_room_to_work_in(parameters: int) -> None:
    whole = Inspection(parameters=parameters, weight_bytes=4 * parameters, dtype="F32", batch_bytes=100 * MIB)
    eight = replace(whole, weight_bytes=parameters, loaded_bytes=parameters, dtype="I8", quantisation="torchao")

    assert estimate_model_bytes(whole) - estimate_model_bytes(eight) == 3 * parameters


def test_integers_stay_as_they_are() -> None:
    assert estimate_memory_bytes(500 * MIB, "I8") == estimate_memory_bytes(500 * MIB, "F32")


def test_a_tiny_model_still_needs_a_worker() -> None:
    assert estimate_memory_bytes(1000, "F32") == WORKER_BASE_BYTES + 1000 + WORKING_FLOOR_BYTES


def test_unknown_weights_are_not_taken_for_none() -> None:
    assert estimate_memory_bytes(None, None) > UNKNOWN_WEIGHT_BYTES


def test_never_less_for_more() -> None:
    sizes = [0, 1, MIB, 319 * MIB, 321 * MIB, 10**10]

    estimates = [estimate_memory_bytes(size, "F32") for size in sizes]

    assert estimates == sorted(estimates)
