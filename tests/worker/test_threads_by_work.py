"""How many threads a model has, by what its batches take."""

from __future__ import annotations

import pytest

from modelyard.worker.threads_by_work import STEADY_S, WORTH_SHARING_S, ThreadsByWork

LONG_S, SHORT_S = 2 * WORTH_SHARING_S, WORTH_SHARING_S / 4


@pytest.mark.parametrize(("batch_s", "threads"), [(None, 8), (LONG_S, 8), (SHORT_S, 1)])
def test_short_batches_have_one_thread_and_others_what_they_may(batch_s: float | None, threads: int) -> None:
    assert ThreadsByWork(8).choose(batch_s, 0.0) == threads


def test_batches_that_have_become_long_are_shared_once_they_have_been_for_a_while() -> None:
    threads = ThreadsByWork(8)
    at_s = [threads.choose(each, float(second)) for second, each in enumerate([SHORT_S, LONG_S, SHORT_S, LONG_S])]
    assert at_s == [1, 1, 1, 1]
    assert threads.choose(LONG_S, 3.0 + STEADY_S - 0.1) == 1
    assert threads.choose(LONG_S, 3.0 + STEADY_S) == 8


def test_what_threads_made_short_stays_shared_where_it_was_seen_to_be_long_without() -> None:
    threads = ThreadsByWork(8)
    chosen = []
    for second in range(12):
        chosen.append(threads.choose(LONG_S if chosen[-1:] == [1] else LONG_S / 8, float(second)))
    assert chosen == [1, 1, 1] + 9 * [8]
    assert threads.choose(WORTH_SHARING_S / 20, 12.0) == 1


def test_it_never_has_more_than_it_may() -> None:
    threads = ThreadsByWork(4)
    assert threads.choose(LONG_S, 0.0) == 4
    threads.allowed = 1
    assert threads.choose(LONG_S, 0.1) == 1
    threads.allowed = 2
    assert threads.choose(LONG_S, 0.2) == 1
    assert threads.choose(LONG_S, 0.2 + STEADY_S) == 2


def test_who_has_had_long_batches_all_along_on_one_thread_shares_them_as_soon_as_it_may() -> None:
    threads = ThreadsByWork(1)
    assert threads.choose(LONG_S, 0.0) == 1
    assert threads.choose(LONG_S, STEADY_S) == 1
    threads.allowed = 2
    assert threads.choose(LONG_S, STEADY_S + 0.1) == 2


def test_the_number_that_was_chosen_never_stays_above_what_is_allowed() -> None:
    threads = ThreadsByWork(8)
    assert threads.choose(LONG_S, 0.0) == 8
    threads.allowed = 4
    assert threads.choose(LONG_S, 0.1) == 4
