"""How many unknown keys an address may try: many by mistake, few a second, and each for itself."""

from __future__ import annotations

import pytest

from modelyard import levels
from modelyard.accounts.attempts import MOST_AT_ONCE, PER_S, FailedAttempts
from modelyard.errors import Throttled
from tests.clock import HandClock


def exhaust(failed: FailedAttempts, address: str | None) -> None:
    for _ in range(MOST_AT_ONCE):
        failed.check(address)
        failed.note(address)


def test_an_address_that_tried_too_many_waits_and_may_then_try_again() -> None:
    clock = HandClock()
    failed = FailedAttempts(clock)
    exhaust(failed, "192.0.2.1")
    with pytest.raises(Throttled) as refusal:
        failed.check("192.0.2.1")
    assert refusal.value.status == 429
    clock.advance(refusal.value.data["retry_after_s"])
    failed.check("192.0.2.1")


def test_over_time_no_more_than_so_many_a_second_are_tried() -> None:
    clock = HandClock()
    failed = FailedAttempts(clock)
    tried = 0
    for _ in range(1000):
        clock.advance(0.01)
        try:
            failed.check("192.0.2.1")
        except Throttled:
            continue
        failed.note("192.0.2.1")
        tried += 1
    assert tried <= MOST_AT_ONCE + 10 * PER_S


@pytest.mark.parametrize(
    ("other", "shares"),
    [("192.0.2.2", False), (None, False), ("2001:db8::2", True), ("2001:db8:0:1::1", False)],
)
def test_whom_an_address_stands_for(other: str | None, shares: bool) -> None:
    failed = FailedAttempts(HandClock())
    exhaust(failed, "2001:db8::1")
    if shares:
        with pytest.raises(Throttled):
            failed.check(other)
    else:
        failed.check(other)


def test_addresses_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "MOST_KEPT", 3)
    failed = FailedAttempts(HandClock())
    exhaust(failed, "192.0.2.1")
    for number in range(2, 5):
        failed.note(f"192.0.2.{number}")
    failed.check("192.0.2.1")
