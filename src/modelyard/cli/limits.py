"""Limits as they are written on a command line: a number, or the word `none`. Owns their bounds; knows no account."""

from __future__ import annotations

import re
from decimal import Decimal

from modelyard.cli.money import parse_usd
from modelyard.errors import InvalidRequest
from modelyard.units import GIB

NONE = "none"
"""The word that lifts a limit."""
MOST = 1_000_000_000
MOST_GB = 1_000_000


def parse_count(text: str, field: str, *, lifts: str = "no limit") -> int | None:
    """A whole number; None for the word `none`, which means what `lifts` says. Raises InvalidRequest."""
    if text == NONE:
        return None
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > MOST:
        raise InvalidRequest(field=field, got=text, accepted=f"a whole number from 0 to {MOST}, or {NONE} ({lifts})")
    return int(text)


def parse_gigabytes(text: str, field: str) -> int | None:
    """GB as bytes, rounded down; None for the word `none`. Raises InvalidRequest."""
    if text == NONE:
        return None
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,9})?", text) or Decimal(text) > MOST_GB:
        raise InvalidRequest(field=field, got=text, accepted=f"GB from 0 to {MOST_GB}, such as 1.5, or {NONE}")
    return int(Decimal(text) * GIB)


def parse_money(text: str, field: str) -> int | None:
    """US dollars as billionths, not below 0; None for the word `none`. Raises InvalidRequest."""
    if text == NONE:
        return None
    if (amount := parse_usd(text, field)) < 0:
        raise InvalidRequest(field=field, got=text, accepted=f"0 or more, or {NONE}")
    return amount
