"""The names that someone who typed an unknown one may have meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from heapq import nlargest

_CANDIDATES = 40
"""Only so many names are compared in full, however many are known."""
_MAX_GRAMS = 48
_LEAST_RATIO = 0.6
_NAME_WEIGHT = 0.95
"""The right name under another organisation counts a little less than the right id with a slip in it."""


def nearest_names(wanted: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """At most `limit` of `known`, the likeliest first. Letters' case does not matter.

    Two steps: count shared three-letter pieces over all names, then compare the best few letter by letter.
    """
    target = wanted.lower()
    grams = [target[i : i + 3] for i in range(len(target) - 2)][:_MAX_GRAMS]
    counted = ((sum(map(name.lower().__contains__, grams)), name) for name in known)
    candidates = nlargest(_CANDIDATES, (pair for pair in counted if pair[0]))
    scored = ((_likeness(target, name.lower()), name) for _, name in candidates)
    return [name for score, name in nlargest(limit, scored) if score >= _LEAST_RATIO]


def _likeness(wanted: str, name: str) -> float:
    """1.0 for equal, 0.0 for nothing in common."""
    whole = SequenceMatcher(None, wanted, name).ratio()
    own = SequenceMatcher(None, wanted.rpartition("/")[2], name.rpartition("/")[2]).ratio()
    return max(whole, own * _NAME_WEIGHT)
