"""How many unknown keys an address may try."""

from __future__ import annotations

import ipaddress
import math

from modelyard.clock import Clock
from modelyard.errors import Throttled
from modelyard.levels import Levels

MOST_AT_ONCE = 50
PER_S = 5.0
"""Failed attempts at once, and a second from then on: more than a client with a wrong key makes by mistake, and nothing
against 192 random bits."""
IPV6_PREFIX = 64
"""One customer has at least so many bits of addresses. Source: RFC 6177."""


class FailedAttempts:
    """Failed attempts by address; None stands for all whose address is not known."""

    def __init__(self, clock: Clock) -> None:
        self._levels = Levels(clock, PER_S)

    def check(self, address: str | None) -> None:
        """Raises Throttled while the address has tried too many keys."""
        over = self._levels.of(group_of(address)) + 1 - MOST_AT_ONCE
        if over > 0:
            wait_s = math.ceil(over / PER_S)
            raise Throttled(f"Too many unknown API keys came from here. Try again in {wait_s} s.", retry_after_s=wait_s)

    def note(self, address: str | None) -> None:
        """Counts a failed attempt."""
        self._levels.add(group_of(address), 1)


def group_of(address: str | None) -> str:
    """Whom an address stands for: itself, or its network where it is of IPv6."""
    if address is None or ":" not in address:
        return address or ""
    try:
        return str(ipaddress.ip_network(f"{address.partition('%')[0]}/{IPV6_PREFIX}", strict=False))
    except ValueError:
        return address
