"""Money: whole billionths of a US dollar ("nano"), so that sums are exact. Owns the arithmetic and how amounts read.

Rates are finer still, in whole 10^-12 dollars per GB and second: the usual rate has ten decimals.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from modelyard.errors import InvalidRequest
from modelyard.units import GIB

NANO = 10**9
PICO = 10**12
US = 10**6
"""Microseconds in a second."""
AMOUNT_UNIT = GIB * US * (PICO // NANO)
"""How many bytes × microseconds × 10^-12 dollars per GB and second make a billionth of a dollar."""


@lru_cache
def pico_per_gb_s(usd_per_gb_s: float) -> int:
    """A rate as the settings give it, exactly: a float stands for the shortest decimal that reads as it.

    Raises InvalidRequest for one with more than 12 decimals.
    """
    pico = Decimal(repr(usd_per_gb_s)) * PICO
    if pico != pico.to_integral_value():
        raise InvalidRequest(field="price_per_gb_s", got=usd_per_gb_s, accepted="US dollars with at most 12 decimals")
    return int(pico)


def amount_nano(memory_bytes: int, took_us: int, pico: int) -> int:
    """What `memory_bytes` cost for so many microseconds at `pico` per GB and second, rounded half up."""
    return half_up(memory_bytes * took_us * pico, AMOUNT_UNIT)


def half_up(numerator: int, denominator: int) -> int:
    """The whole number nearest to a fraction that is not negative; a half counts as one."""
    return (2 * numerator + denominator) // (2 * denominator)


def decimal(units: int, digits: int = 9) -> str:
    """`units` of 10^-digits as a plain decimal number: 1000002 is 0.001000002."""
    whole, rest = divmod(abs(units), 10**digits)
    return f"{'-' if units < 0 else ''}{whole}.{rest:0{digits}d}"


def usd(nano: int) -> str:
    """An amount in dollars, exactly: no more decimals than it has, two at least."""
    whole, rest = decimal(nano).split(".")
    return f"{whole}.{rest.rstrip('0'):0<2}"


def dollars(nano: int) -> str:
    """The same for people."""
    return f"${usd(nano)}"
