"""How many threads a model has, by what its batches take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modelyard.worker.threads_by_work import LEAST_REST_S, LONG_S, MOST_REST_S, SAMPLES, STEADY, ThreadsByWork

SHORT_S = LONG_S / 100
TRIED = 3 * STEADY
"""After so many batches of a size it was found out how many threads are better."""
Times = Callable[[int, int], float]
"""What a batch takes: its size, its threads."""


def alike(size: int, threads: int) -> float:
    """More threads change nothing."""
    return SHORT_S


def shared_well(size: int, threads: int) -> float:
    """Each thread does its part."""
    return 4 * SHORT_S / threads


class Worker:
    """A model whose batches take what `times` says. `sets`: the numbers of threads that were set. `took_s`: what all
    batches have taken."""

    def __init__(self, allowed: int, times: Times, opening_s: float = 0.0) -> None:
        """`opening_s`: what the first batch with another number takes longer."""
        self.times = times
        self.sets: list[int] = []
        self.took_s = 0.0
        self.threads = ThreadsByWork(allowed, self._set)
        self._now = allowed
        self._opening_s, self._opens = opening_s, False

    def _set(self, count: int) -> None:
        self.sets.append(count)
        self._now, self._opens = count, True

    def run(self, *sizes: int | None) -> list[int]:
        """How many threads each of these batches has."""
        return [self._run_one(size) for size in sizes]

    def _run_one(self, size: int | None) -> int:
        self.threads.prepare(size)
        took_s = self.times(size or 1, self._now) + self._opens * self._opening_s
        self.threads.note(took_s)
        self.took_s += took_s
        self._opens = False
        return self._now


def test_batches_that_all_threads_make_no_quicker_have_one_once_that_is_known() -> None:
    worker = Worker(8, alike)
    assert worker.run(*SAMPLES * [16]) == SAMPLES * [8]
    assert worker.run(*TRIED * [16]) == TRIED * [1]


def test_batches_that_all_threads_make_clearly_quicker_have_all_but_for_the_few_that_show_it() -> None:
    worker = Worker(8, shared_well)
    threads = worker.run(*2 * TRIED * [16])
    assert threads[-TRIED:] == TRIED * [8]
    assert threads.count(1) == STEADY + SAMPLES  # with the first, which may have a session to make


@pytest.mark.parametrize(("gain", "threads"), [(0.9, 1), (0.8, 8)])
def test_a_little_quicker_is_not_worth_all_threads(gain: float, threads: int) -> None:
    worker = Worker(8, lambda size, threads: SHORT_S * (gain if threads > 1 else 1.0))
    assert worker.run(*2 * TRIED * [16])[-TRIED:] == TRIED * [threads]


def test_a_size_is_judged_by_batches_of_its_own() -> None:
    worker = Worker(8, lambda size, threads: shared_well(size, threads) if size >= 64 else alike(size, threads))
    worker.run(*2 * TRIED * [16], *2 * TRIED * [64])
    assert worker.run(*TRIED * [20], *TRIED * [100])[STEADY:] == (TRIED - STEADY) * [1] + TRIED * [8]


def test_long_batches_are_never_tried_on_one_thread_and_have_all_at_once() -> None:
    worker = Worker(8, lambda size, threads: LONG_S / 4 if size >= 64 else alike(size, threads))
    assert worker.run(*3 * TRIED * [64]) == 3 * TRIED * [8]
    worker.run(*2 * TRIED * [16])
    assert worker.run(16, 64, 64) == [1, 8, 8]


def test_what_batches_take_is_looked_at_again_after_a_while_that_grows() -> None:
    worker = Worker(8, alike)
    rests_s = []
    for _ in range(8):
        while worker.run(16) == [8]:
            pass
        began_s = worker.took_s
        while worker.run(16) == [1]:
            pass
        rests_s.append(worker.took_s - began_s)
    tried_s = TRIED * SHORT_S
    expected_s = [LEAST_REST_S * 2**time for time in range(6)] + 2 * [MOST_REST_S]
    assert rests_s == pytest.approx(expected_s, abs=tried_s)
    worker.times = shared_well
    worker.run(*round(MOST_REST_S / shared_well(16, 1)) * [16])
    assert worker.run(*TRIED * [16]) == TRIED * [8]


def test_the_sessions_that_are_made_take_a_small_part_of_the_time() -> None:
    def mixed(size: int, threads: int) -> float:
        return shared_well(size, threads) if size >= 64 else alike(size, threads)

    opening_s = 50 * SHORT_S
    worker = Worker(8, mixed, opening_s)
    worker.run(*2000 * [16, 64])
    assert 2 < len(worker.sets) <= 1 + worker.took_s / (STEADY * opening_s)


def test_what_its_size_tells_nothing_about_has_all_threads() -> None:
    assert Worker(8, alike).run(*2 * TRIED * [None]) == 2 * TRIED * [8]


def test_it_never_has_more_than_it_may_and_less_at_once() -> None:
    worker = Worker(8, shared_well)
    worker.run(*2 * TRIED * [16])
    worker.threads.allowed = 4
    assert worker.run(16) == [4]
    worker.threads.allowed = 1
    assert worker.run(*TRIED * [16]) == TRIED * [1]


def test_who_may_have_more_has_them_at_once() -> None:
    worker = Worker(1, shared_well)
    assert worker.run(*TRIED * [16]) == TRIED * [1]
    worker.threads.allowed = 8
    assert worker.run(16, 16) == [8, 8]


def test_what_was_found_for_a_number_of_threads_is_known_when_it_comes_back() -> None:
    worker = Worker(8, alike)
    worker.run(*TRIED * [16])
    for allowed in (1, 8):
        worker.threads.allowed = allowed
        assert worker.run(*TRIED * [16]) == TRIED * [1]
