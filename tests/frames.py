"""Frames as a test's own end of a connection reads them, over asyncio's streams."""

from __future__ import annotations

import asyncio

from modelyard.protocol import Frame
from modelyard.wire import decode


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame; None when the other end has closed the connection."""
    try:
        length = int.from_bytes(await reader.readexactly(4), "big")
        return decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
