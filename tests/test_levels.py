"""Levels fall with time, never below nothing, and only so many are remembered."""

from __future__ import annotations

import pytest

from modelyard import levels
from modelyard.levels import Levels
from tests.clock import HandClock


def test_a_level_falls_at_its_rate_and_not_below_nothing() -> None:
    clock = HandClock()
    some = Levels(clock, 2.0)
    assert some.add("ada", 5) == 5
    clock.advance(1.0)
    assert (some.of("ada"), some.of("eve")) == (3, 0)
    assert some.add("ada", -4) == 0
    some.add("ada", 1)
    clock.advance(10.0)
    assert some.of("ada") == 0


def test_of_too_many_names_the_one_used_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "MOST_KEPT", 2)
    some = Levels(HandClock(), 1.0)
    for name in ("ada", "bob", "ada", "eve"):
        some.add(name, 1)
    assert (some.of("ada"), some.of("bob"), some.of("eve")) == (2, 0, 1)
