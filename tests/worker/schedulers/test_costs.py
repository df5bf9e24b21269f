"""What batches cost, learned from those that ran."""

from __future__ import annotations

import math

import pytest

from modelyard.worker.schedulers.costs import (
    LEAST_LENGTH,
    SHARE,
    UNKNOWN_LENGTH,
    BatchCosts,
    fit_pass_length,
)

PASS_S, CHARACTER_S = 0.003, 0.00002


def seconds(size: int) -> float:
    return PASS_S + CHARACTER_S * size


def learn(costs: BatchCosts, sizes: list[int], slowed: float = 1.0) -> None:
    for size in sizes:
        costs.add(size, seconds(size) * slowed)


def test_the_ratio_of_a_pass_to_a_character_is_read_from_sizes_that_differ() -> None:
    costs = BatchCosts()
    learn(costs, [10, 40, 300, 2500])
    assert costs.pass_length == pytest.approx(PASS_S / CHARACTER_S)
    assert costs.worthwhile_size == pytest.approx(SHARE * PASS_S / CHARACTER_S)


def test_nothing_is_read_from_sizes_that_are_alike() -> None:
    costs = BatchCosts()
    assert costs.pass_length == UNKNOWN_LENGTH
    learn(costs, [100, 150, 350])
    assert costs.pass_length == UNKNOWN_LENGTH


def test_what_a_busy_machine_slowed_does_not_count_beside_a_faster_batch_of_that_size() -> None:
    costs = BatchCosts()
    learn(costs, [10, 300, 2500], slowed=7.0)
    learn(costs, [10, 300, 2500])
    learn(costs, [10, 300, 2500], slowed=3.0)
    assert costs.pass_length == pytest.approx(PASS_S / CHARACTER_S)


def test_a_model_for_which_length_costs_nothing_puts_all_together() -> None:
    assert fit_pass_length([(10, 0.02), (1000, 0.02), (100_000, 0.019)]) == math.inf


def test_a_model_whose_passes_cost_nothing_still_puts_short_inputs_together() -> None:
    costs = BatchCosts()
    for size in (100, 1000, 10_000):
        costs.add(size, size * CHARACTER_S)
    assert costs.pass_length == LEAST_LENGTH


def test_a_clock_that_stood_still_and_an_input_without_length_tell_nothing() -> None:
    costs = BatchCosts()
    for size, taken in ((0, 1.0), (10, 0.0), (1000, 1.0)):
        costs.add(size, taken)
    assert costs.pass_length == UNKNOWN_LENGTH


def test_what_was_learned_is_forgotten_when_the_machine_changes() -> None:
    costs = BatchCosts()
    learn(costs, [10, 300, 2500])
    costs.forget()
    assert costs.pass_length == UNKNOWN_LENGTH
    learn(costs, [10])
    assert costs.pass_length == UNKNOWN_LENGTH
