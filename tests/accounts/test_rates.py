"""How many requests a key may make."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts.rates import SWEEP_AT_LEAST, WINDOW_S, RateLimiter
from modelyard.errors import RateLimited
from modelyard.gateway import problem
from modelyard.records.accounts import Key
from tests.clock import START, HandClock


def key(name: str = "k", limit: int | None = None) -> Key:
    return Key(name, "acc_1", name, "my-1", START, rate_limit=limit)


def test_the_headers_count_down_within_a_minute() -> None:
    clock = HandClock()
    limiter = RateLimiter(3, clock)
    seen = []
    for _ in range(3):
        seen.append(tuple(limiter.take(key()).values()))
        clock.advance(10.5)
    assert list(limiter.take(key("other"))) == ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"]
    assert seen == [("3", "2", "60"), ("3", "1", "50"), ("3", "0", "39")]


def test_one_too_many_is_refused_and_told_when_to_come_back() -> None:
    clock = HandClock()
    limiter = RateLimiter(2, clock)
    limiter.take(key())
    limiter.take(key())
    clock.advance(59.5)
    with pytest.raises(RateLimited, match=r"2 requests per minute\. Try again in 1 s") as refusal:
        limiter.take(key())
    assert (refusal.value.status, refusal.value.data["retry_after_s"]) == (429, 1)
    clock.advance(refusal.value.data["retry_after_s"])
    assert limiter.take(key())["ratelimit-remaining"] == "1"


def test_a_refused_request_does_not_make_the_wait_longer() -> None:
    clock = HandClock()
    limiter = RateLimiter(1, clock)
    limiter.take(key())
    for _ in range(50):
        clock.advance(1)
        with pytest.raises(RateLimited):
            limiter.take(key())
    clock.advance(10)
    limiter.take(key())


def test_keys_do_not_share() -> None:
    limiter = RateLimiter(1, HandClock())
    limiter.take(key("a"))
    limiter.take(key("b"))
    with pytest.raises(RateLimited):
        limiter.take(key("a"))


def test_without_a_limit_nobody_is_refused() -> None:
    limiter = RateLimiter(0, HandClock())
    for _ in range(100):
        headers = limiter.take(key())
    assert int(headers["ratelimit-remaining"]) >= 1_000_000
    assert set(headers) == {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


@pytest.mark.parametrize(
    ("setting", "own", "allowed"),
    [(3, None, 3), (3, 5, 5), (5, 3, 3), (3, 0, None), (0, 3, 3), (0, None, None), (3, 1, 1)],
)
def test_a_keys_own_limit_goes_before_the_setting(setting: int, own: int | None, allowed: int | None) -> None:
    limiter = RateLimiter(setting, HandClock())
    told = [limiter.take(key("k", own)) for _ in range(20 if allowed is None else allowed)]
    if allowed is None:
        assert {each["ratelimit-limit"] for each in told} == {"1000000"}
        return
    assert [int(each["ratelimit-remaining"]) for each in told] == list(reversed(range(allowed)))
    assert {each["ratelimit-limit"] for each in told} == {str(allowed)}
    with pytest.raises(RateLimited, match=f"may make {allowed} requests"):
        limiter.take(key("k", own))


def test_a_changed_limit_holds_for_the_minute_that_has_begun() -> None:
    limiter = RateLimiter(0, HandClock())
    for _ in range(4):
        limiter.take(key("k", 4))
    assert limiter.take(key("k", 6))["ratelimit-remaining"] == "1"
    with pytest.raises(RateLimited, match="may make 2 requests"):
        limiter.take(key("k", 2))
    assert limiter.take(key("k", 0))["ratelimit-limit"] == "1000000"
    assert limiter.take(key("k", 6))["ratelimit-remaining"] == "0"


def test_a_refusal_carries_the_true_headers() -> None:
    clock = HandClock()
    limiter = RateLimiter(0, clock)
    limiter.take(key("k", 1))
    clock.advance(17.5)
    with pytest.raises(RateLimited) as refusal:
        limiter.take(key("k", 1))
    assert problem.headers_of(refusal.value) == {
        "retry-after": "43",
        "ratelimit-limit": "1",
        "ratelimit-remaining": "0",
        "ratelimit-reset": "43",
    }


def test_keys_that_have_gone_quiet_are_forgotten() -> None:
    clock = HandClock()
    limiter = RateLimiter(5, clock)
    for n in range(2 * SWEEP_AT_LEAST):
        limiter.take(key(f"early {n}"))
    clock.advance(WINDOW_S)
    for n in range(4 * SWEEP_AT_LEAST):
        limiter.take(key(f"late {n}"))
    assert not any(name.startswith("early") for name in limiter._windows)


@given(st.integers(1, 5), st.lists(st.floats(0, 40), max_size=40))
def test_no_window_ever_holds_more_than_the_limit(limit: int, pauses: list[float]) -> None:
    clock = HandClock()
    limiter = RateLimiter(limit, clock)
    taken: list[float] = []
    for pause in pauses:
        clock.advance(pause)
        with suppress(RateLimited):
            assert 0 <= int(limiter.take(key())["ratelimit-remaining"]) < limit
            taken.append(clock.monotonic())
    # A fixed window lets through at most twice the limit around its border, never more.
    for begin in taken:
        assert sum(begin <= at < begin + WINDOW_S for at in taken) <= 2 * limit
