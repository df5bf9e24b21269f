"""A process that only passes bytes on, between a port and a Unix socket: what any process in between adds.

`python -m benchmarks.relay PATH` prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import uvloop


class End(asyncio.Protocol):
    """One end of a connection that is passed on; what comes before the other end is there waits."""

    def __init__(self) -> None:
        self.other: End | None = None
        self.transport: asyncio.Transport | None = None
        self._waiting = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.other is None or self.other.transport is None:
            self._waiting += data
        else:
            self.other.transport.write(data)

    def pair(self, other: End) -> None:
        """Passes on to it from now on."""
        self.other = other
        waiting, self._waiting = bytes(self._waiting), bytearray()
        if waiting:
            self.data_received(waiting)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


async def relay(path: str) -> None:
    """Until it is ended."""
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    async def connect(outer: End) -> None:
        inner = End()
        await loop.create_unix_connection(lambda: inner, path)
        inner.pair(outer)
        outer.pair(inner)

    def accept() -> End:
        outer = End()
        connecting.add(loop.create_task(connect(outer)))
        return outer

    server = await loop.create_server(accept, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextmanager
def relayed(path: str) -> Iterator[socket.socket]:
    """A connection to the Unix socket through such a process."""
    command = [sys.executable, "-m", "benchmarks.relay", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        sock = socket.create_connection(("127.0.0.1", int(process.stdout.readline())))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            yield sock
        finally:
            sock.close()
            process.terminate()


if __name__ == "__main__":
    uvloop.run(relay(sys.argv[1]))
