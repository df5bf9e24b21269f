"""Which network addresses a URL from a client may lead to. Pure but for `resolve`, which asks the system's DNS."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host name, for a port. Raises OSError when there are none."""

NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Leads to the IPv4 address in its last 32 bits. Source: RFC 6052."""
NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "100.64.0.0/10",  # shared by carriers, and by some clouds' metadata services
        "192.0.0.0/24",  # protocol assignments, and a cloud's metadata service
        "192.88.99.0/24",  # 6to4 relays
        "64:ff9b:1::/48",  # NAT64 inside one network
        "fec0::/10",  # site-local, before unique-local replaced it
        "5f00::/16",  # segment routing
    )
)
"""Networks that `is_global` does not, or not in every Python, know to be somebody's own."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """A host's addresses as the system knows them, without blocking the loop. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(text: str) -> bool:
    """Whether an address belongs to the public internet, also once every address hidden in it is unwrapped."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(is_public_one(each) for each in unwrap(address)) and "%" not in text


def is_public_one(address: Address) -> bool:
    """Whether this very address is public: not private, loopback, link-local, multicast, reserved or unspecified."""
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in NOT_PUBLIC if network.version == address.version)
    )


def unwrap(address: Address) -> list[Address]:
    """The address where packets end up: the IPv4 address inside an IPv6 one where there is one, else itself."""
    if not isinstance(address, ipaddress.IPv6Address):
        return [address]
    low = int(address) & 0xFFFFFFFF
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in NAT64 or (int(address) >> 32 == 0 and low > 1):  # ::a.b.c.d, deprecated
        return [ipaddress.IPv4Address(low)]
    inner: list[Address] = [address]
    if address.sixtofour is not None:
        inner.append(address.sixtofour)
    if address.teredo is not None:
        inner.extend(address.teredo)
    return inner
