"""Numbers as they are written on a command line: counts, GB, US dollars, or the word `none`. Exact: no floats."""

from __future__ import annotations

import re
from decimal import Decimal

from modelyard.accounts.amounts import NONE
from modelyard.accounts.amounts import parse_money as parse_money
from modelyard.accounts.amounts import parse_usd as parse_usd
from modelyard.accounts.limits import MOST_COUNT, MOST_MEMORY_BYTES
from modelyard.errors import InvalidRequest
from modelyard.units import GIB

MOST_GB = MOST_MEMORY_BYTES // GIB

_COUNT = re.compile(r"[0-9]{1,10}")
_GIGABYTES = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?")


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
