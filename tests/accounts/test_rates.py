"""How many requests a key may make."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts.rates import SWEEP_AT_LEAST, WINDOW_S, RateLimiter
from modelyard.errors import RateLimited
from tests.control.clocks import HandClock


def test_the_headers_count_down_within_a_minute() -> None:
    clock = HandClock()
    limiter = RateLimiter(3, clock)
    seen = []
    for _ in range(3):
        seen.append(tuple(limiter.take("k").values()))
        clock.advance(10.5)
    assert list(limiter.take("other")) == ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
    assert seen == [("3", "2", "60"), ("3", "1", "50"), ("3", "0", "39")]


def test_one_too_many_is_refused_and_told_when_to_come_back() -> None:
    clock = HandClock()
    limiter = RateLimiter(2, clock)
    limiter.take("k")
    limiter.take("k")
    clock.advance(59.5)
    with pytest.raises(RateLimited, match=r"2 requests per minute\. Try again in 1 s") as refusal:
        limiter.take("k")
    assert (refusal.value.status, refusal.value.data["retry_after_s"]) == (429, 1)
    clock.advance(refusal.value.data["retry_after_s"])
    assert limiter.take("k")["ratelimit-remaining"] == "1"


def test_a_refused_request_does_not_make_the_wait_longer() -> None:
    clock = HandClock()
    limiter = RateLimiter(1, clock)
    limiter.take("k")
    for _ in range(50):
        clock.advance(1)
        with pytest.raises(RateLimited):
            limiter.take("k")
    clock.advance(10)
    limiter.take("k")


def test_keys_do_not_share() -> None:
    limiter = RateLimiter(1, HandClock())
    limiter.take("a")
    limiter.take("b")
    with pytest.raises(RateLimited):
        limiter.take("a")


def test_without_a_limit_nobody_is_refused() -> None:
    limiter = RateLimiter(0, HandClock())
    for _ in range(100):
        headers = limiter.take("k")
    assert int(headers["ratelimit-remaining"]) >= 1_000_000
    assert set(headers) == {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


def test_keys_that_have_gone_quiet_are_forgotten() -> None:
    clock = HandClock()
    limiter = RateLimiter(5, clock)
    for key in range(2 * SWEEP_AT_LEAST):
        limiter.take(f"early {key}")
    clock.advance(WINDOW_S)
    for key in range(4 * SWEEP_AT_LEAST):
        limiter.take(f"late {key}")
    assert not any(key.startswith("early") for key in limiter._windows)


@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=40))
def test_no_window_ever_holds_more_than_the_limit(limit: int, pauses: list[float]) -> None:
    clock = HandClock()
    limiter = RateLimiter(limit, clock)
    taken: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        with suppress(RateLimited):
            assert 0 <= int(limiter.take("k")["ratelimit-remaining"]) < limit
            taken.append(clock.monotonic())
    # A fixed window lets through at most twice the limit around its border, never more.
    for begin in taken:
        assert sum(begin <= at < begin + WINDOW_S for at in taken) <= 2 * limit
