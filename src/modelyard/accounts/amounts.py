"""Amounts of money as people and programs write them. Exact: no floats."""

from __future__ import annotations

import re
from decimal import Decimal

from modelyard.accounts.limits import MOST_USD
from modelyard.errors import InvalidRequest
from modelyard.money import NANO

NONE = "none"
"""The word that lifts a limit."""

_USD = re.compile(r"[+-]?[0-9]+(\.[0-9]{1,9})?")


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
