"""Where a replica takes connections, and how one is made there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from modelyard.wire import FrameConnection


@dataclass(frozen=True, slots=True)
class Door:
    """Where other processes connect to a replica. `address`: `unix:/path` or `tcp://host:port`; `secret`: what they
    show there; `adapter`: the one beside the worker's model that requests are for; empty: the model itself."""

    address: str
    secret: str
    adapter: str = ""


async def open_connection(address: str, connection: FrameConnection) -> None:
    """Connects to `unix:/path` or `tcp://host:port`. Raises OSError."""
    loop = asyncio.get_running_loop()
    if address.startswith("unix:"):
        await loop.create_unix_connection(lambda: connection, address.removeprefix("unix:"))
    else:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        await loop.create_connection(lambda: connection, host.strip("[]"), int(port))
