"""How many unknown keys an address may try. Owns one level per address, which falls as time passes."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict

from modelyard.clock import Clock
from modelyard.errors import Throttled

MOST_AT_ONCE = 50
PER_S = 5.0
"""Failed attempts at once, and a second from then on: more than a client with a wrong key makes by mistake, and nothing
against 192 random bits."""
ADDRESSES = 10_000
"""Addresses that are remembered; beyond it the one that tried longest ago is forgotten."""
IPV6_PREFIX = 64
"""One customer has at least so many bits of addresses. Source: RFC 6177."""


class FailedAttempts:
    """Failed attempts by address; None stands for all whose address is not known."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, address: str | None) -> None:
        """Raises Throttled while the address has tried too many keys."""
        over = self._level(group_of(address)) + 1 - MOST_AT_ONCE
        if over > 0:
            wait_s = math.ceil(over / PER_S)
            raise Throttled(f"Too many unknown API keys came from here. Try again in {wait_s} s.", retry_after_s=wait_s)

    def note(self, address: str | None) -> None:
        """Counts a failed attempt."""
        group = group_of(address)
        self._levels[group] = (self._level(group) + 1, self._clock.monotonic())
        self._levels.move_to_end(group)
        while len(self._levels) > ADDRESSES:
            self._levels.popitem(last=False)

    def _level(self, group: str) -> float:
        level, at = self._levels.get(group, (0.0, 0.0))
        return max(0.0, level - (self._clock.monotonic() - at) * PER_S)


def group_of(address: str | None) -> str:
    """Whom an address stands for: itself, or its network where it is of IPv6."""
    if address is None or ":" not in address:
        return address or ""
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/{IPV6_PREFIX}", strict=False))
    except ValueError:
        return address
