"""Money: whole billionths of a US dollar ("nano"), so that sums are exact. Owns the arithmetic and how amounts read.

Rates are finer still, in whole 10^-12 dollars per GB and second: the usual rate has ten decimals.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache

from modelyard.errors import InvalidRequest, PaymentRequired
from modelyard.records.accounts import Account
from modelyard.units import GIB

NANO = 10**9
PICO = 10**12
US = 10**6
"""Microseconds in a second."""


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
    return half_up(memory_bytes * took_us * pico, GIB * US * (PICO // NANO))


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


def check_funds(account: Account, *, spent_nano: int, month_nano: int, need_nano: int = 0) -> None:
    """Whether an account may begin something that costs `need_nano`, and in any case a little.

    `spent_nano`: what it has spent in all its time; `month_nano`: in this month. Raises PaymentRequired.
    """
    need_nano = max(1, need_nano)
    credit, limit = account.credit_nano, account.monthly_limit_nano
    if credit is not None and spent_nano + need_nano > credit:
        raise PaymentRequired(
            f"{account.name} has spent {dollars(spent_nano)} of its credit of {dollars(credit)}"
            f"{too_little(need_nano, credit - spent_nano)}. Nothing new is begun until the operator of this server "
            "adds credit (`modelyard accounts`).",
            spent_nano=spent_nano,
            credit_nano=credit,
        )
    if limit is not None and month_nano + need_nano > limit:
        raise PaymentRequired(
            f"{account.name} has spent {dollars(month_nano)} this month, of its monthly limit of {dollars(limit)}"
            f"{too_little(need_nano, limit - month_nano)}. Nothing new is begun until the month is over (UTC) or the "
            "operator of this server raises the limit (`modelyard accounts`).",
            spent_nano=month_nano,
            limit_nano=limit,
        )


def too_little(need_nano: int, left_nano: int) -> str:
    """What a sentence adds where something is left, but not enough."""
    return f"; a request needs {dollars(need_nano)} set aside" if left_nano > 0 else ""
