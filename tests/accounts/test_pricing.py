"""What a model's meter and price are, exactly."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.accounts.pricing import METERS, Price, UnitPrice, price, tariff_of
from modelyard.config import Settings
from modelyard.errors import InvalidRequest
from modelyard.money import amount_nano, decimal, dollars, pico_per_gb_s
from modelyard.protocol import Usage
from modelyard.records.instances import Tariff
from modelyard.records.providers import UnitPrices
from modelyard.units import GIB

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
    gpt2 = price(GIB // 2, RATE)
    assert gpt2 == Price("xs", GIB // 2, 16_666_700)
    assert decimal(gpt2.nano(120_000_000)) == "0.001000002"
    assert decimal(gpt2.pico_per_s, 12) == "0.000008333350"
    assert gpt2.usd_per_s == 0.00000833335
    assert price(GIB, 0.0).usd_per_s == 0.0


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_more_memory_never_costs_less(one: int, other: int) -> None:
    names = [name for name, _ in METERS] + ["super"]
    small, large = price(min(one, other), RATE), price(max(one, other), RATE)
    assert small.usd_per_s <= large.usd_per_s
    assert names.index(small.meter) <= names.index(large.meter)


@given(st.integers(0, 10**9).map(lambda pico: f"{pico / 10**12:.12f}"))
def test_a_rate_is_the_decimal_that_was_written(text: str) -> None:
    assert pico_per_gb_s(float(text)) == Fraction(text) * 10**12


def test_a_rate_finer_than_what_is_counted_in_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"price_per_gb_s: got 1e-13; accepted: .* 12 decimals"):
        tariff_of(replace(Settings(), price_per_gb_s=1e-13))


def test_the_terms_are_what_is_set() -> None:
    assert tariff_of(Settings()) == Tariff(16_666_700, 60, 60, "ready")
    chosen = replace(Settings(), billing_minimum_s=1, billing_round_s=0, billing_counts="life", price_per_gb_s=1.0)
    assert tariff_of(chosen) == Tariff(10**12, 1, 0, "life")


@given(st.integers(0, 10**12), st.integers(0, 10**13), st.integers(0, 10**12))
def test_an_amount_is_rounded_half_up(memory_bytes: int, took_us: int, pico: int) -> None:
    exact = Fraction(memory_bytes, GIB) * Fraction(took_us, 10**6) * Fraction(pico, 1000)
    assert -Fraction(1, 2) < amount_nano(memory_bytes, took_us, pico) - exact <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("nano", "plain", "words"),
    [
        (0, "0.000000000", "$0.00"),
        (1, "0.000000001", "$0.000000001"),
        (1_000_002, "0.001000002", "$0.001000002"),
        (12_500_000_000, "12.500000000", "$12.50"),
        (-1, "-0.000000001", "$-0.000000001"),
    ],
)
def test_money_is_written_without_noise(nano: int, plain: str, words: str) -> None:
    assert decimal(nano) == plain
    assert dollars(nano) == words


def test_a_closed_model_costs_what_its_provider_counts() -> None:
    prices = UnitPrices(read_token=2_500_000, cached_token=1_250_000, new_token=10_000_000)
    cost = UnitPrice(prices, Usage(prompt_tokens=10, new_tokens=100))

    assert (
        cost.cost_nano(Usage(prompt_tokens=1000, cached_tokens=400, new_tokens=10)) == 600 * 2500 + 400 * 1250 + 10**5
    )
    assert cost.reserve_nano(10) == 10 * 2500 + 100 * 10_000
    assert cost.is_billed(bills_requests=False)
    assert not UnitPrice(UnitPrices(), Usage()).is_billed(bills_requests=True)


def test_sounds_images_and_characters_have_prices_too() -> None:
    prices = UnitPrices(second=100_000_000, image=40_000_000_000, character=15_000_000)

    assert UnitPrice(prices, Usage()).cost_nano(Usage(sound_ms=1500)) == 150_000
    assert UnitPrice(prices, Usage(), characters=10, images=1).cost_nano(Usage()) == 40_000_000 + 150_000
