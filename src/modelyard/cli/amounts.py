"""Numbers as they are written on a command line: counts, GB, US dollars, or the word `none`. Exact: no floats."""

from __future__ import annotations

import re
from decimal import Decimal

from modelyard.accounts.limits import MOST_COUNT, MOST_MEMORY_BYTES, MOST_USD
from modelyard.errors import InvalidRequest
from modelyard.money import NANO
from modelyard.units import GIB

NONE = "none"
"""The word that lifts a limit."""
MOST_GB = MOST_MEMORY_BYTES // GIB

_COUNT = re.compile(r"[0-9]{1,10}")
_GIGABYTES = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?")
_USD = re.compile(r"[+-]?[0-9]+(\.[0-9]{1,9})?")


def parse_count(text: str, field: str, *, lifts: str = "no limit") -> int | None:
    """A whole number; None for the word `none`, which means what `lifts` says. Raises InvalidRequest."""
    if text == NONE:
        return None
    if not _COUNT.fullmatch(text) or int(text) > MOST_COUNT:
        accepted = f"a whole number from 0 to {MOST_COUNT}, or {NONE} ({lifts})"
        raise InvalidRequest(field=field, got=text, accepted=accepted)
    return int(text)


def parse_gigabytes(text: str, field: str) -> int | None:
    """GB as bytes, rounded down; None for the word `none`. Raises InvalidRequest."""
    if text == NONE:
        return None
    if not _GIGABYTES.fullmatch(text) or Decimal(text) > MOST_GB:
        raise InvalidRequest(field=field, got=text, accepted=f"GB from 0 to {MOST_GB}, such as 1.5, or {NONE}")
    return int(Decimal(text) * GIB)


def parse_money(text: str, field: str) -> int | None:
    """US dollars as billionths, not below 0; None for the word `none`. Raises InvalidRequest."""
    if text == NONE:
        return None
    if (amount := parse_usd(text, field)) < 0:
        raise InvalidRequest(field=field, got=text, accepted=f"0 or more, or {NONE}")
    return amount


def parse_usd(text: str, field: str) -> int:
    """Billionths of a US dollar. Raises InvalidRequest."""
    if not _USD.fullmatch(text) or abs(Decimal(text)) > MOST_USD:
        accepted = f"US dollars such as 12.50, with at most 9 decimals, up to {MOST_USD:,} (no commas)"
        raise InvalidRequest(field=field, got=text, accepted=accepted)
    return int(Decimal(text) * NANO)
