"""US dollars as people write them on a command line, as the billionths that are stored. Exact: no floats."""

from __future__ import annotations

import re
from decimal import Decimal

from modelyard.errors import InvalidRequest
from modelyard.money import NANO

MOST_USD = 10**9
_AMOUNT = re.compile(r"[+-]?[0-9]+(\.[0-9]{1,9})?")


def parse_usd(text: str, field: str) -> int:
    """Billionths of a US dollar. Raises InvalidRequest naming the field."""
    if not _AMOUNT.fullmatch(text) or abs(Decimal(text)) > MOST_USD:
        raise InvalidRequest(
            field=field,
            got=text,
            accepted=f"US dollars such as 12.50, with at most 9 decimals, up to {MOST_USD:,} (no commas)",
        )
    return int(Decimal(text) * NANO)
