"""The time that is billed: setting the machine's clock does not bend it."""

from datetime import timedelta

from modelyard.clock import SteadyClock
from tests.clock import START, HandClock


def test_setting_the_clock_moves_neither_past_nor_future_moments() -> None:
    clock = HandClock()
    steady = SteadyClock(clock)
    clock.advance(10)
    clock.set_wall(-3600)
    assert steady.now() == START + timedelta(seconds=10)
    clock.set_wall(86400)
    clock.advance(0.5)
    assert steady.now() == START + timedelta(seconds=10.5)
    assert steady.monotonic() == clock.monotonic()


def test_the_next_server_begins_at_the_wall_clock_of_its_start() -> None:
    clock = HandClock()
    clock.set_wall(-3600)
    assert SteadyClock(clock).now() == START - timedelta(seconds=3600)
