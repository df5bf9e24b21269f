"""What inference costs. Pure; money is in millionths of a US dollar.

The default rate is the hosted service's (seed 003): $0.0000166667 per GB of required memory and second.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.types import GIB

METERS = (("xs", 1.0), ("sm", 4.0), ("md", 16.0), ("lg", 40.0), ("xl", 80.0), ("xxl", 160.0))
"""Meter name → the most GB of required memory it covers; anything above is `super`."""


@dataclass(frozen=True, slots=True)
class Price:
    """A model's meter and what one second of one instance costs."""

    meter: str
    usd_per_s: float


def price(memory_bytes: int, usd_per_gb_s: float) -> Price:
    """The price of a model that requires `memory_bytes`."""
    gigabytes = memory_bytes / GIB
    meter = next((name for name, most in METERS if gigabytes <= most), "super")
    return Price(meter, gigabytes * usd_per_gb_s)
