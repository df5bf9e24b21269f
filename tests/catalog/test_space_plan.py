"""What goes so that a download finds room, and what is said when it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.catalog.space_plan import ACCOUNT, CACHE, DISK, ModelFiles, Shortage, SpaceLimits, plan_space

START = datetime(2026, 1, 1, tzinfo=UTC)
ADA, BOB = "acc_ada", "acc_bob"
PLENTY = SpaceLimits(account_bytes=None, cache_bytes=None, free_bytes=10**6, kept_free_bytes=0)


def files(name: str, size_bytes: int, day: int, account: str | None = ADA, *, removable: bool = True) -> ModelFiles:
    """A model that was last used on that day."""
    used_at = START + timedelta(days=day)
    return ModelFiles(
        name, size_bytes, used_at, removable, counted_for=account, counted_bytes=size_bytes if account else 0
    )


OLD, MIDDLE, NEW = files("a/old", 10, 1), files("b/middle", 20, 2), files("c/new", 30, 3)
ALL = (NEW, OLD, MIDDLE)


def names(plan: Sequence[ModelFiles] | Shortage) -> list[str]:
    assert not isinstance(plan, Shortage), plan
    return [each.model_id for each in plan]


@pytest.mark.parametrize(
    ("cache_bytes", "gone"),
    [
        (100, []),
        (65, []),
        (64, ["a/old"]),
        (55, ["a/old"]),
        (54, ["a/old", "b/middle"]),
        (5, ["a/old", "b/middle", "c/new"]),
    ],
)
def test_the_longest_unused_go_first_and_no_more_than_it_takes(cache_bytes: int, gone: list[str]) -> None:
    plan = plan_space(ALL, 5, BOB, replace(PLENTY, cache_bytes=cache_bytes))
    assert names(plan) == gone


def test_what_is_used_stays_and_is_told_as_what_stays() -> None:
    used = (replace(OLD, removable=False), MIDDLE, NEW)
    assert names(plan_space(used, 5, ADA, replace(PLENTY, cache_bytes=50))) == ["b/middle"]
    assert plan_space(used, 5, ADA, replace(PLENTY, cache_bytes=14)) == Shortage(CACHE, 14, 60, 50)


def test_only_what_counts_for_an_account_makes_room_in_its_limit() -> None:
    models = (replace(OLD, counted_for=BOB), MIDDLE, replace(NEW, removable=False))
    assert names(plan_space(models, 5, ADA, replace(PLENTY, account_bytes=54))) == ["b/middle"]
    assert plan_space(models, 25, ADA, replace(PLENTY, account_bytes=54)) == Shortage(ACCOUNT, 54, 50, 20)
    assert names(plan_space(models, 25, BOB, replace(PLENTY, account_bytes=35))) == []


def test_what_goes_for_one_limit_counts_for_the_next() -> None:
    models = (files("b/others", 40, 0, BOB), OLD, MIDDLE)
    limits = replace(PLENTY, account_bytes=40, cache_bytes=70)
    assert names(plan_space(models, 20, ADA, limits)) == ["a/old", "b/others"]
    assert names(plan_space(models, 20, ADA, replace(limits, cache_bytes=80))) == ["a/old"]


def test_what_is_still_to_come_of_other_downloads_is_taken() -> None:
    arriving = replace(NEW, size_bytes=10, coming_bytes=20, counted_bytes=30, removable=False)
    assert names(plan_space((arriving, OLD), 60, ADA, replace(PLENTY, account_bytes=100, cache_bytes=100))) == []
    assert names(plan_space((arriving, OLD), 61, ADA, replace(PLENTY, cache_bytes=100))) == ["a/old"]
    assert names(plan_space((arriving, OLD), 61, ADA, replace(PLENTY, account_bytes=100))) == ["a/old"]
    assert names(plan_space((arriving, OLD), 75, ADA, replace(PLENTY, free_bytes=100, kept_free_bytes=5))) == []
    assert names(plan_space((arriving, OLD), 76, ADA, replace(PLENTY, free_bytes=100, kept_free_bytes=5))) == ["a/old"]
    short = plan_space((arriving, OLD), 86, ADA, replace(PLENTY, free_bytes=100, kept_free_bytes=5))
    assert short == Shortage(DISK, 95, 20, 10)


sizes = st.integers(0, 30)
models_in_a_cache = st.lists(
    st.builds(
        lambda number, size, day, removable, coming, account: replace(
            files(f"m/{number}", size, day, account, removable=removable),
            coming_bytes=0 if removable else coming,
            counted_bytes=size + (0 if removable else coming) if account else 0,
        ),
        st.integers(0, 10**9),
        sizes,
        st.integers(0, 5),
        st.booleans(),
        sizes,
        st.sampled_from([ADA, BOB, None]),
    ),
    max_size=8,
    unique_by=lambda each: each.model_id,
)
bounds = st.none() | st.integers(0, 150)


def keeps_to(models: Sequence[ModelFiles], gone: Sequence[ModelFiles], needed_bytes: int, limits: SpaceLimits) -> bool:
    """Whether every limit would be kept without these models, said in another way than the plan does."""
    left = [each for each in models if each not in gone]
    own = sum(each.counted_bytes for each in left if each.counted_for == ADA)
    everything = sum(each.size_bytes + each.coming_bytes for each in left)
    free = limits.free_bytes + sum(each.size_bytes for each in gone) - sum(each.coming_bytes for each in left)
    return (
        (limits.account_bytes is None or own + needed_bytes <= limits.account_bytes)
        and (limits.cache_bytes is None or everything + needed_bytes <= limits.cache_bytes)
        and free - needed_bytes >= limits.kept_free_bytes
    )


@given(models_in_a_cache, sizes, bounds, bounds, st.integers(0, 100), sizes)
def test_whatever_there_is_a_plan_is_enough_in_order_and_touches_nothing_in_use(
    models: list[ModelFiles],
    needed_bytes: int,
    account_bytes: int | None,
    cache_bytes: int | None,
    free_bytes: int,
    kept_free_bytes: int,
) -> None:
    limits = SpaceLimits(account_bytes, cache_bytes, free_bytes, kept_free_bytes)
    plan = plan_space(models, needed_bytes, ADA, limits)
    removable = [each for each in models if each.removable]
    if isinstance(plan, Shortage):
        assert not keeps_to(models, removable, needed_bytes, limits), "all that may go is enough"
        return
    assert keeps_to(models, plan, needed_bytes, limits)
    assert all(each.removable and each.size_bytes > 0 for each in plan)
    assert len({each.model_id for each in plan}) == len(plan)
    assert not plan or not keeps_to(models, plan[:-1], needed_bytes, limits), "the last one was not needed"
    for each in plan:
        earlier = [other for other in removable if (other.used_at, other.model_id) < (each.used_at, each.model_id)]
        skipped = [other for other in earlier if other.size_bytes > 0 and other not in plan]
        assert all(each.counted_for == ADA and other.counted_for != ADA for other in skipped)
