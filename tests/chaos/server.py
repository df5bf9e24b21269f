"""`python -m tests.chaos.server`: `modelyard`, with a wall clock and a resolver that who runs the chaos can turn.

CHAOS_CLOCK names a file with the seconds by which this server's clock is wrong; the machine's is left alone. The host
`rebound.test` has a public address and a loopback address by turns; the public one leads to the port in CHAOS_PORT of
this machine, and nowhere else.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpcore

from modelyard.cli.main import main
from modelyard.clock import SystemClock
from modelyard.media.fetch import Fetcher

HOST, PUBLIC, PRIVATE = "rebound.test", "93.184.215.14", "127.0.0.1"
_addresses = itertools.cycle([PUBLIC, PRIVATE])


async def resolve(host: str, port: int) -> Sequence[str]:
    return [next(_addresses) if host == HOST else PRIVATE]


class Network(httpcore.AnyIOBackend):
    """Connects to this machine in the place of the public address, and to nothing else."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        if host == PUBLIC and port != int(os.environ["CHAOS_PORT"]):
            raise httpcore.ConnectError("there is nothing")
        return await super().connect_tcp(PRIVATE, port, timeout, local_address, socket_options)


def now(_: SystemClock) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=float(Path(os.environ["CHAOS_CLOCK"]).read_text() or 0))


if __name__ == "__main__":
    SystemClock.now = now  # type: ignore[method-assign]
    Fetcher.__init__.__defaults__ = (resolve, Network())  # type: ignore[attr-defined]
    main()
