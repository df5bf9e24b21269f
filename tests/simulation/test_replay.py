"""Replays: the real control loop on a clock that jumps."""

from __future__ import annotations

import gc
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts.ledger import billed_us
from modelyard.control.lease import LeaseTimes
from modelyard.control.policy import Policy
from modelyard.control.room import MOST_ASKED
from modelyard.money import amount_nano
from modelyard.simulation.engine import Fleet
from modelyard.simulation.generated import TraceSize, generate
from modelyard.simulation.outcome import Outcome
from modelyard.simulation.plots import plot_comparison
from modelyard.simulation.replay import Setting, replay
from modelyard.simulation.traces import Trace, TracedModel
from modelyard.units import GIB
from tests.properties import examples

HOUR_S = 3600.0
ROUND_S = 0.01
"""Two turns of the loop, by which what it does may come later."""


def one_model(moments_s: list[float], *, memory_bytes: int = GIB, models: int = 1, span_s: float = HOUR_S) -> Trace:
    """Requests of a second each, of so many models in turn. An hour in which nothing happens takes a second."""
    names = [TracedModel(f"m/{number}", "ada", memory_bytes) for number in range(models)]
    numbers = np.arange(len(moments_s)) % models
    return Trace("by hand", names, np.array(moments_s), numbers, np.ones(len(moments_s)), span_s)


def test_a_replica_lives_from_its_first_request_until_its_timeout_and_is_billed_for_that() -> None:
    fleet = Fleet(nodes=1, start_s=1.0, load_bytes_per_s=GIB, fetch_bytes_per_s=GIB / 2)
    setting = Setting(fleet, Policy(idle_timeout_s=100))
    outcome = replay(one_model([10.0, 60.0, 1000.0], span_s=1200.0), setting)
    assert (outcome.requests, outcome.failed.total(), outcome.cold_starts, outcome.launches) == (3, 0, 2, 2)
    first, second, third = outcome.waits_s
    assert 4.0 <= first <= 4.0 + 4 * ROUND_S  # 1 s to start, 2 to copy, 1 to load
    assert second == 0.0
    assert 2.0 <= third <= 2.0 + 4 * ROUND_S  # its node has the files
    lived_s = (60.0 + 1.0 + 100.0 - 10.0) + (2.0 + 1.0 + 100.0)
    assert lived_s <= outcome.byte_s / GIB <= lived_s + 1.0
    ready_us = [round((60.0 + 1.0 + 100.0 - 14.0) * 1e6), round((1.0 + 100.0) * 1e6)]
    tariff = setting.tariff
    assert outcome.cost_nano == sum(
        amount_nano(GIB, billed_us(each, tariff), tariff.pico_per_gb_s) for each in ready_us
    )


def test_the_longest_idle_leaves_when_there_is_no_room() -> None:
    fleet = Fleet(nodes=1, node_bytes=2 * GIB)
    trace = one_model([10.0, 40.0, 70.0, 100.0], models=3, span_s=200.0)
    outcome = replay(trace, Setting(fleet, Policy(idle_timeout_s=600)))
    assert (outcome.cold_starts, outcome.evictions) == (4, 2)  # the third pushes out the first, which comes again
    assert outcome.peak_bytes == 2 * GIB


def test_on_many_full_nodes_somebody_leaves_for_each_that_comes() -> None:
    fleet = Fleet(nodes=60, node_bytes=4 * GIB)
    trace = one_model([float(number) for number in range(300)], models=300, span_s=400.0)
    outcome = replay(trace, Setting(fleet, Policy(idle_timeout_s=1000)))
    assert outcome.launches - outcome.evictions == 240 > MOST_ASKED
    assert outcome.wait_s(100) < 10.0
    assert outcome.fullest == 1.0


def test_what_a_node_loses_is_begun_again_elsewhere() -> None:
    fleet = Fleet(nodes=3, fails_every_s=900.0, repair_s=60.0)
    trace = one_model([10.0 * number for number in range(360)])
    outcome = replay(trace, Setting(fleet, Policy(idle_timeout_s=600), seed=4))
    assert outcome.node_failures > 5
    assert outcome.failed.total() == 0
    assert len(outcome.waits_s) == outcome.requests
    assert 1 < outcome.launches <= outcome.node_failures + 1


def test_when_the_server_that_leads_dies_the_next_one_goes_on_with_what_lives() -> None:
    fleet = Fleet(nodes=2, server_fails_every_s=600.0)
    policy = Policy(idle_timeout_s=600)
    trace = one_model([10.0 + 1.7 * number for number in range(2000)])
    outcome = replay(trace, Setting(fleet, policy, seed=4))
    assert outcome.server_failures > 3
    assert (outcome.failed.total(), len(outcome.waits_s)) == (0, outcome.requests)
    assert (outcome.launches, outcome.retried) == (1, 0), "its replica, and what that works on, are the next server's"
    times = LeaseTimes()
    assert times.lease_s - times.renew_s <= outcome.unled_s <= times.lease_s + times.ask_s
    warm = outcome.waits_s[outcome.cold_starts :]
    assert 0.5 < max(warm) <= times.lease_s + times.ask_s + ROUND_S
    alone = replay(trace, Setting(Fleet(nodes=2), policy, seed=4))
    assert 0 <= alone.cost_nano - outcome.cost_nano <= 0.1 * alone.cost_nano


def test_a_busy_model_gets_more_replicas_and_no_more_than_its_max() -> None:
    trace = one_model([100.0 + number / 100 for number in range(400)], span_s=600.0)
    few, many = (replay(trace, Setting(Fleet(nodes=4), Policy(), most)) for most in (1, 3))
    assert (few.most_replicas, many.most_replicas) == (1, 3)
    assert many.wait_s(90) < 0.6 * few.wait_s(90)


def small(seed: int, **more: object) -> tuple[Trace, Setting]:
    """Half an hour of forty models on nodes that have room for some of them, and fail."""
    shape = random.Random(seed).choice(["poisson", "bursty", "azure"])
    trace = generate(shape, seed, TraceSize(models=40, requests=250, span_s=HOUR_S / 2))
    fleet = Fleet(nodes=3, node_bytes=10 * GIB, fails_every_s=1500.0, repair_s=120.0, server_fails_every_s=1000.0)
    return trace, Setting(fleet, Policy(idle_timeout_s=120), most_replicas=2, seed=seed)


def figures(outcome: Outcome) -> tuple[object, ...]:
    return outcome.as_data(), outcome.samples, outcome.waits_s


def test_a_seed_gives_the_same_outcome_each_time() -> None:
    trace, setting = small(5)
    first, again = (replay(trace, setting, "same") for _ in range(2))
    assert figures(first) == figures(again)
    assert first.launches > 40


@examples(3, verified=60)
@given(st.integers(0, 2**20))
def test_no_node_holds_more_than_it_may_nor_a_model_more_than_its_max(seed: int) -> None:
    trace, setting = small(seed)
    outcome = replay(trace, setting)
    assert outcome.fullest <= 1.0
    assert outcome.most_replicas <= 2
    assert len(outcome.waits_s) + outcome.failed.total() == outcome.requests


def test_what_is_kept_out_of_collections_stays_so() -> None:
    """A process that has imported much, as this one has, would look through all of it for garbage ever after."""
    before = gc.get_freeze_count()
    replay(one_model([10.0], span_s=20.0), Setting())
    assert gc.get_freeze_count() >= before > 0


def test_outcomes_are_drawn_with_their_names() -> None:
    trace = one_model([10.0, 60.0], span_s=200.0)
    outcomes = [replay(trace, Setting(policy=Policy(idle_timeout_s=each)), f"<{each} s>") for each in (10, 100)]
    picture = plot_comparison("two timeouts", outcomes)
    assert picture.startswith("<svg ")
    assert picture.count("&lt;100 s&gt;") == 2
    assert picture.count("<polyline ") == 2
