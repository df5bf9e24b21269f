"""What an instance's life costs: the published examples, and what must hold of any life under any terms."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts.ledger import by_day, line, lines, month_start, total
from modelyard.accounts.pricing import tariff_of
from modelyard.config import Settings
from modelyard.money import decimal
from modelyard.records.instances import Instance, Tariff
from modelyard.units import GIB

START = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)
USUAL = tariff_of(Settings())
RATE = Fraction(166667, 10**10)


def life(
    seconds: float | None,
    memory_bytes: int = GIB // 2,
    tariff: Tariff | None = USUAL,
    *,
    boot_s: float | None = 5,
    start: datetime = START,
) -> Instance:
    """A life that was ready for so many seconds; None: it still is."""
    ready = None if boot_s is None else start + timedelta(seconds=boot_s)
    ended = None if seconds is None else (ready or start) + timedelta(seconds=seconds)
    return Instance(
        "in_1", "cl_1", "acc_1", "org/name", "node", memory_bytes, start, start, ready, ended,
        tariff=tariff, started_at=start,
    )  # fmt: skip


def formula(memory_bytes: int, seconds: Fraction) -> Fraction:
    """The published formula, in billionths of a dollar: 60 s at least, beyond that the full minute."""
    minutes = max(1, -(-seconds // 60))
    return Fraction(memory_bytes, GIB) * 60 * minutes * RATE * 10**9


@pytest.mark.parametrize(
    ("gigabytes", "seconds", "dollars"),
    [
        (0.5, 61, "0.001000002"),  # the published example, to the last digit
        (0.5, 120, "0.001000002"),
        (0.5, 120.000001, "0.001500003"),
        (0.5, 60, "0.000500001"),
        (0.5, 60.000001, "0.001000002"),
        (0.5, 1, "0.000500001"),
        (0.5, 0, "0.000500001"),
        (16, 3600, "0.960001920"),
        (0, 3600, "0.000000000"),
    ],
)
def test_the_usual_formula(gigabytes: float, seconds: float, dollars: str) -> None:
    (only,) = lines([life(seconds, int(gigabytes * GIB))])
    assert decimal(only.charge.amount_nano) == dollars


@pytest.mark.parametrize(
    ("tariff", "billed_s"),
    [
        (Tariff(1), 120),
        (Tariff(1, minimum_s=0), 120),
        (Tariff(1, minimum_s=100), 100),
        (Tariff(1, minimum_s=90, round_s=0), 90),
        (Tariff(1, minimum_s=0, round_s=0), 61.5),
        (Tariff(1, round_s=1), 62),
        (Tariff(1, minimum_s=0, round_s=3600), 3600),
        (Tariff(1, minimum_s=0, round_s=1, counts="life"), 67),
    ],
)
def test_minimum_rounding_and_what_counts_are_terms(tariff: Tariff, billed_s: float) -> None:
    (only,) = lines([life(61.5, tariff=tariff)])
    assert only.charge.billed_us == billed_s * 1_000_000


@pytest.mark.parametrize(("tariff", "boot_s"), [(USUAL, None), (Tariff(1, counts="inference"), 5.0), (None, 5.0)])
def test_what_does_not_count_has_no_line(tariff: Tariff | None, boot_s: float | None) -> None:
    assert list(lines([life(100, tariff=tariff, boot_s=boot_s)])) == []


def test_a_boot_that_failed_counts_where_life_does() -> None:
    (only,) = lines([life(100, tariff=replace(USUAL, counts="life"), boot_s=None)])
    assert (only.charge.took_us, only.charge.billed_us) == (100_000_000, 120_000_000)


def test_what_waits_for_its_process_does_not_count_where_life_does() -> None:
    tariff = replace(USUAL, counts="life")
    late = replace(life(100, tariff=tariff), started_at=START + timedelta(seconds=4))
    (only,) = lines([late])
    assert (only.since, only.charge.took_us) == (late.started_at, 101_000_000)
    assert list(lines([replace(late, started_at=None, ready_at=None)])) == []


def test_an_open_life_counts_up_to_its_last_heartbeat_or_to_now() -> None:
    open_life = replace(life(None), heartbeat_at=START + timedelta(seconds=100))
    (recorded,) = lines([open_life])
    (present,) = lines([open_life], now=START + timedelta(seconds=185))
    (closed,) = lines([replace(open_life, ended_at=START + timedelta(seconds=7))], now=START + timedelta(days=9))
    assert [each.charge.took_us for each in (recorded, present, closed)] == [95_000_000, 180_000_000, 2_000_000]
    assert [each.open for each in (recorded, present, closed)] == [True, True, False]


def test_a_heartbeat_older_than_ready_makes_no_negative_time() -> None:
    (only,) = lines([life(None)])
    assert (only.charge.took_us, only.charge.billed_us) == (0, 60_000_000)


def test_a_day_begins_at_midnight_utc_wherever_the_clock_hangs() -> None:
    eve = datetime(2026, 5, 2, 8, 59, 30, tzinfo=timezone(timedelta(hours=9)))
    days = list(by_day([life(90, boot_s=0, start=eve)]))
    assert [(str(each.day), each.charge.took_us / 1e6, each.charge.billed_us / 1e6) for each in days] == [
        ("2026-05-01", 30, 60),  # the minimum is due when it begins
        ("2026-05-02", 60, 60),
    ]


def test_a_life_that_ends_at_midnight_has_no_part_of_the_next_day() -> None:
    eve = datetime(2026, 5, 1, 23, 59, tzinfo=UTC)
    assert [str(each.day) for each in by_day([life(60, boot_s=0, start=eve)])] == ["2026-05-01"]


def test_a_month_begins_with_its_first_day_utc() -> None:
    assert month_start(datetime(2026, 6, 1, 8, tzinfo=timezone(timedelta(hours=9)))) == datetime(2026, 5, 1, tzinfo=UTC)


seconds = st.one_of(st.integers(0, 200), st.integers(0, 4 * 86400)).flatmap(
    lambda whole: st.sampled_from([0, 1, 999_999]).map(lambda us: whole + Fraction(us, 10**6))
)
memories = st.integers(0, 200 * GIB)
starts = st.integers(0, 86400 * 10**6).map(lambda us: START + timedelta(microseconds=us))
tariffs = st.builds(
    Tariff,
    st.integers(0, 10**9),
    st.sampled_from([0, 1, 60, 90]),
    st.sampled_from([0, 1, 60, 3600]),
    st.sampled_from(["ready", "life"]),
)


@given(memories, seconds)
def test_a_line_is_the_formula_to_within_half_a_billionth(memory_bytes: int, took: Fraction) -> None:
    (only,) = lines([life(float(took), memory_bytes)])
    assert abs(only.charge.amount_nano - formula(memory_bytes, Fraction(only.charge.took_us, 10**6))) <= Fraction(1, 2)


@given(memories, seconds, tariffs, starts)
def test_days_add_up_to_the_life(memory_bytes: int, took: Fraction, tariff: Tariff, start: datetime) -> None:
    one = life(float(took), memory_bytes, tariff, start=start)
    days = list(by_day([one]))
    assert total(days) == total(lines([one]))
    assert len({each.day for each in days}) == len(days)
    assert all(min(each.charge.took_us, each.charge.billed_us, each.charge.amount_nano) >= 0 for each in days)


@given(st.lists(st.integers(-100, 5 * 86400), min_size=1, max_size=6), seconds, tariffs)
def test_any_periods_add_up_to_the_life(cuts: list[int], took: Fraction, tariff: Tariff) -> None:
    one = life(float(took), tariff=tariff)
    ends = [None, *(START + timedelta(seconds=cut) for cut in sorted(cuts)), None]
    periods = [line(one, since, until) for since, until in pairwise(ends)]
    assert total(each for each in periods if each is not None) == total(lines([one]))


@given(memories, seconds, seconds, tariffs)
def test_a_longer_life_never_costs_less(memory_bytes: int, one: Fraction, other: Fraction, tariff: Tariff) -> None:
    short, long = (total(lines([life(float(each), memory_bytes, tariff)])) for each in sorted((one, other)))
    assert short.amount_nano <= long.amount_nano
    assert short.billed_us <= long.billed_us


@given(seconds, tariffs)
def test_the_same_intervals_always_cost_the_same(took: Fraction, tariff: Tariff) -> None:
    lives = [life(float(took), tariff=tariff), life(None, tariff=tariff)]
    now = START + timedelta(days=1)
    assert list(by_day(lives, now=now)) == list(by_day(lives, now=now))
