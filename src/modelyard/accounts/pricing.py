"""What inference costs, and on what terms. Pure.

The default rate is the hosted service's (seed 003): $0.0000166667 per GB of required memory and second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from modelyard.config import Settings
from modelyard.money import NANO, PICO, amount_nano, decimal, half_up, pico_per_gb_s
from modelyard.protocol import Usage
from modelyard.records.instances import Tariff
from modelyard.records.providers import UnitPrices
from modelyard.units import GIB

METERS = (("xs", 1), ("sm", 4), ("md", 16), ("lg", 40), ("xl", 80), ("xxl", 160))
"""Meter name → the most GB of required memory it covers; anything above is `super`."""

TOKENS = "tokens"
"""The meter of closed models: what their providers count."""


@dataclass(frozen=True)
class Price:
    """A model's meter, and what the time of one of its instances costs."""

    meter: str
    memory_bytes: int
    pico_per_gb_s: int

    @cached_property
    def pico_per_s(self) -> int:
        """US dollars × 10^12 for one second of one instance."""
        return half_up(self.memory_bytes * self.pico_per_gb_s, GIB)

    @cached_property
    def per_s(self) -> str:
        """US dollars for one second of one instance, exactly."""
        return decimal(self.pico_per_s, 12)

    @property
    def usd_per_s(self) -> float:
        """US dollars for one second of one instance."""
        return self.pico_per_s / PICO

    def nano(self, took_us: int) -> int:
        """Billionths of a US dollar for so many microseconds of one instance."""
        return amount_nano(self.memory_bytes, took_us, self.pico_per_gb_s)

    def cost_nano(self, usage: Usage) -> int:
        """The same for what an inference took."""
        return self.nano(usage.took_us)

    def is_billed(self, *, bills_requests: bool) -> bool:
        """Whether inferences are on the bill: without `bills_requests` their instances are, instead."""
        return bills_requests

    def reserve_nano(self, reserve_us: int) -> int:
        """What is set aside before an inference that is billed."""
        return self.nano(reserve_us)


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """What an inference of a closed model costs whoever is asked for it here: the provider's own prices, or nothing
    where its client's key pays. No instance is billed for it, so that it always is on the bill.

    `most`: units that are set aside, in the words of `Usage`; `characters`, `images`: of the request.
    """

    prices: UnitPrices
    most: Usage
    characters: int = 0
    images: int = 0
    meter: str = TOKENS
    memory_bytes: int = 0
    per_s: str = "0"

    def cost_nano(self, usage: Usage) -> int:
        """Billionths of a US dollar for what the provider has counted."""
        prices = self.prices
        cached = min(usage.cached_tokens or 0, usage.prompt_tokens or 0) if prices.cached_token else 0
        pico = (
            ((usage.prompt_tokens or 0) - cached) * prices.read_token
            + cached * prices.cached_token
            + (usage.new_tokens or 0) * prices.new_token
            + self.characters * prices.character
            + self.images * prices.image
        )
        return half_up(pico * 1000 + (usage.sound_ms or 0) * prices.second, 1000 * PICO // NANO)

    def is_billed(self, *, bills_requests: bool) -> bool:
        """See Price."""
        return self.prices != UnitPrices()

    def reserve_nano(self, reserve_us: int) -> int:
        """See Price."""
        return self.cost_nano(self.most)


Cost = Price | UnitPrice
"""The terms of one inference."""


@lru_cache(maxsize=4096)
def price(memory_bytes: int, usd_per_gb_s: float) -> Price:
    """The price of a model that requires `memory_bytes`."""
    return Price(meter_of(memory_bytes), memory_bytes, pico_per_gb_s(usd_per_gb_s))


def meter_of(memory_bytes: int) -> str:
    """The tier of a model that requires `memory_bytes`."""
    return next((name for name, most in METERS if memory_bytes <= most * GIB), "super")


def tariff_of(settings: Settings) -> Tariff:
    """The terms that instances launched under these settings are billed on. Raises InvalidRequest."""
    return Tariff(
        pico_per_gb_s=pico_per_gb_s(settings.price_per_gb_s),
        minimum_s=settings.billing_minimum_s,
        round_s=settings.billing_round_s,
        counts=settings.billing_counts,
    )
