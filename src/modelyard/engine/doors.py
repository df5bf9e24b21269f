"""Where a replica takes connections, and how one is made there."""

from __future__ import annotations

import asyncio
import socket
import sys
from asyncio.trsock import TransportSocket
from dataclasses import dataclass

import msgspec

from modelyard.tls import SAME_FILES, LinkTls, explain
from modelyard.wire import FrameConnection

if sys.platform == "linux":
    NOTICED_GONE = {
        socket.TCP_KEEPIDLE: 5, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 5, socket.TCP_USER_TIMEOUT: 10_000,
    }  # fmt: skip
    """Seconds, and milliseconds at last, of which none is longer than ten seconds. Source: tcp(7)."""


@dataclass(frozen=True, slots=True)
class Door:
    """Where other processes connect to a replica. `address`: see `open_connection`; `secret`: what they show there;
    `adapter`: the one beside the worker's model that requests are for; empty: the model itself. `ready_at`: since when
    it takes requests, in monotonic seconds; 0: not known."""

    address: str
    secret: str
    adapter: str = ""
    ready_at: float = 0.0


class Enter(msgspec.Struct, frozen=True, tag="enter"):
    """Server to agent, first on a connection with TLS: all that follows is for that replica, and from it."""

    replica_id: str


async def open_connection(address: str, connection: FrameConnection, tls: LinkTls | None = None) -> None:
    """Connects to `unix:/path`, to `tcp://host:port`, or with `tls` to `tls://host:port`; to the replica behind the
    agent there, with `tls://host:port/replica`. Raises OSError."""
    loop = asyncio.get_running_loop()
    kind, _, where = address.partition(":")
    if kind == "unix":
        await loop.create_unix_connection(lambda: connection, where)
        return
    at, _, replica_id = where.removeprefix("//").partition("/")
    host, _, port = at.rpartition(":")
    if kind == "tcp":
        transport, _ = await loop.create_connection(lambda: connection, host.strip("[]"), int(port))
        notice_gone(transport.get_extra_info("socket"))
        return
    if tls is None:
        raise OSError(f"it takes connections with TLS only: {SAME_FILES}")
    try:
        transport, _ = await loop.create_connection(lambda: connection, host.strip("[]"), int(port), ssl=tls.connects)
    except OSError as error:
        raise OSError(explain(error)) from error
    notice_gone(transport.get_extra_info("socket"))
    if replica_id:
        transport.write(msgspec.json.encode(Enter(replica_id)) + b"\n")


def notice_gone(connected: socket.socket | TransportSocket) -> None:
    """Has the kernel break a TCP connection, or those that a socket takes, within ten seconds after the machine at its
    other end has vanished: by itself it waits for hours."""
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        for option, value in NOTICED_GONE.items():
            connected.setsockopt(socket.IPPROTO_TCP, option, value)
