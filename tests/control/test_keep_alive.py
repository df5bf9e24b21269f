"""How long idle replicas stay, as their gaps say."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.keep_alive import LEAST_S, Gaps, KeepAlive, bin_of
from modelyard.control.policy import Policy
from modelyard.units import GIB
from tests.control.control_plane import SMALL, TWIN, MakeControl

WORTH = 1000.0


def learned(seen_s: list[float]) -> tuple[KeepAlive, Gaps]:
    keep_alive, gaps = KeepAlive(WORTH), Gaps()
    keep_alive.learn(gaps, seen_s)
    return keep_alive, gaps


def test_a_replica_stays_as_long_as_the_gaps_are_worth_it() -> None:
    keep_alive, gaps = learned([300.0] * 50)
    assert 300.0 < keep_alive.choose_s(gaps, GIB, 3600.0) < 600.0
    assert keep_alive.choose_s(gaps, 8 * GIB, 3600.0) == LEAST_S  # 8 GB for 300 s are more than a cold start is worth
    keep_alive, gaps = learned([3000.0] * 50)
    assert keep_alive.choose_s(gaps, GIB, 3600.0) == LEAST_S
    assert keep_alive.choose_s(gaps, GIB // 8, 3600.0) > 3000.0


def test_what_has_changed_counts_more_than_what_was() -> None:
    keep_alive, gaps = learned([3000.0] * 100 + [300.0] * 100)
    assert 300.0 < keep_alive.choose_s(gaps, GIB, 3600.0) < 600.0


def test_a_cluster_without_a_past_goes_by_the_others() -> None:
    keep_alive = KeepAlive(WORTH)
    for gap_s in (200.0, 240.0) * 200:
        keep_alive.learn(Gaps(), [gap_s])
    assert 240.0 < keep_alive.choose_s(Gaps(), GIB, 3600.0) < 480.0


@given(st.lists(st.floats(0.0, 1e7)), st.integers(1, 64 * GIB), st.floats(0.0, 1e6))
def test_the_timeout_is_never_exceeded(seen_s: list[float], memory_bytes: int, most_s: float) -> None:
    keep_alive, gaps = learned(seen_s)
    assert min(LEAST_S, most_s) <= keep_alive.choose_s(gaps, memory_bytes, most_s) <= most_s


@given(st.floats(0.0, 1e9), st.floats(0.0, 1e9))
def test_longer_gaps_are_in_later_bins(first_s: float, second_s: float) -> None:
    assert (first_s <= second_s) <= (bin_of(first_s) <= bin_of(second_s))


async def ask_every(control: object, model_id: str, every_s: float, times: int) -> None:
    for _ in range(times):
        await (await control.ask(model_id)).done()  # type: ignore[attr-defined]
        for _ in range(10):
            control.step(after_s=every_s / 10)  # type: ignore[attr-defined]


async def test_only_a_timeout_that_no_client_has_named_is_shortened(make_control: MakeControl) -> None:
    policy = Policy(idle_timeout_s=1800, cold_start_gb_s=10.0)
    async with make_control(policy=policy) as control:
        mine = await control.put(SMALL, timeout=1000)
        ours = await control.put(TWIN)
        for model_id in (SMALL, TWIN):
            await ask_every(control, model_id, 600.0, 12)
        assert (mine.idle_timeout_s, mine.cluster.timeout_s) == (1000, 1000)
        assert (ours.idle_timeout_s, ours.cluster.timeout_s) == (LEAST_S, 1800)
        await control.patch(TWIN, timeout=1500)
        control.step()
        assert ours.idle_timeout_s == 1500
        again = await control.put(TWIN)
        control.step()
        assert again.idle_timeout_s == 1500


async def test_an_idle_replica_leaves_when_its_model_says_so(make_control: MakeControl) -> None:
    async with make_control(policy=Policy(idle_timeout_s=1800, cold_start_gb_s=10.0)) as control:
        managed = await control.put(TWIN)
        await ask_every(control, TWIN, 600.0, 12)
        await (await control.ask(TWIN)).done()
        control.step(after_s=LEAST_S - 1)
        assert managed.replicas
        control.step(after_s=2)
        await control.until(lambda: not managed.replicas)
        assert "no request for 64 s" in await control.events(TWIN)


async def test_nothing_is_learned_unless_it_is_wanted(make_control: MakeControl) -> None:
    async with make_control(policy=Policy(idle_timeout_s=1800)) as control:
        managed = await control.put(TWIN)
        await ask_every(control, TWIN, 600.0, 3)
        assert managed.idle_timeout_s == 1800
        assert managed.gaps.weights == {}


def test_a_learned_time_follows_a_seed() -> None:
    dice = random.Random(3)
    seen_s = [dice.expovariate(1 / 400.0) for _ in range(40)]
    first, again = (learned(seen_s) for _ in range(2))
    assert first[0].choose_s(first[1], GIB, 3600.0) == again[0].choose_s(again[1], GIB, 3600.0)
