from modelyard.catalog.memory import (
    MIB,
    UNKNOWN_WEIGHT_BYTES,
    WORKER_BASE_BYTES,
    WORKING_FLOOR_BYTES,
    estimate_memory_bytes,
)


def test_weights_a_tenth_for_work_and_a_worker() -> None:
    assert estimate_memory_bytes(500 * MIB, "F32") == (500 + 50 + 60) * MIB


def test_half_precision_doubles_as_it_is_loaded() -> None:
    assert estimate_memory_bytes(500 * MIB, "BF16") == estimate_memory_bytes(1000 * MIB, "F32")
    assert estimate_memory_bytes(500 * MIB, "F16") == estimate_memory_bytes(1000 * MIB, "F32")


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
