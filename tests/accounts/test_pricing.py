"""What a model's meter and price are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts.pricing import METERS, Price, price
from modelyard.types import GIB

RATE = 0.0000166667


@pytest.mark.parametrize(
    ("gigabytes", "meter"),
    [
        (0.0, "xs"),
        (1.0, "xs"),
        (1.001, "sm"),
        (4.0, "sm"),
        (16.0, "md"),
        (40.0, "lg"),
        (80.0, "xl"),
        (160.0, "xxl"),
        (160.001, "super"),
        (10_000.0, "super"),
    ],
)
def test_a_meter_covers_models_up_to_its_size(gigabytes: float, meter: str) -> None:
    assert price(int(gigabytes * GIB) + (gigabytes % 1 > 0), RATE).meter == meter


def test_the_price_is_memory_times_rate() -> None:
    assert price(GIB // 2, RATE) == Price("xs", pytest.approx(0.5 * RATE))
    two_minutes_of_gpt2 = price(GIB // 2, RATE).usd_per_s * 120
    assert two_minutes_of_gpt2 == pytest.approx(0.001000002)
    assert price(GIB, 0.0).usd_per_s == 0.0


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_more_memory_never_costs_less(one: int, other: int) -> None:
    names = [name for name, _ in METERS] + ["super"]
    small, large = price(min(one, other), RATE), price(max(one, other), RATE)
    assert small.usd_per_s <= large.usd_per_s
    assert names.index(small.meter) <= names.index(large.meter)
