"""What inference costs, and on what terms. Pure.

The default rate is the hosted service's (seed 003): $0.0000166667 per GB of required memory and second.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from modelyard.config import Settings
from modelyard.money import PICO, amount_nano, decimal, half_up, pico_per_gb_s
from modelyard.records.instances import Tariff
from modelyard.units import GIB

METERS = (("xs", 1), ("sm", 4), ("md", 16), ("lg", 40), ("xl", 80), ("xxl", 160))
"""Meter name → the most GB of required memory it covers; anything above is `super`."""


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
