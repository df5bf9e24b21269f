"""A gateway in a process of its own: answers HTTP on a socket that it was given, and follows who has started it.

`python -m modelyard.serving.gateway_process`: argv[1] is the listening socket's descriptor, argv[2] the id of that
process, argv[3] this gateway's number; its orders come on standard input. It ends with who has started it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.pricing import tariff_of
from modelyard.catalog.provided import open_provided
from modelyard.clock import SteadyClock, SystemClock
from modelyard.config import Settings
from modelyard.gateway.app import App
from modelyard.gateway.following import frames
from modelyard.gateway.following.calls import PassedOn
from modelyard.gateway.following.follower import Counts, Follower
from modelyard.gateway.following.requests import FollowedAdmission, FollowedBooks, FollowedTallies
from modelyard.gateway.following.slots import FollowedPlane, FollowedSlots
from modelyard.gateway.kept_responses import KeptResponses
from modelyard.gateway.metering import Metering
from modelyard.gateway.request_memory import return_large_blocks
from modelyard.gateway.server import configure_logging, keep_pauses_short, run
from modelyard.http.proxies import Proxies
from modelyard.media.artefacts import Artefacts
from modelyard.records.providers import read_keys, read_providers
from modelyard.serving.from_settings import connection_limits_of, response_limits_of
from modelyard.serving.front import Closed, Kept, open_inferences
from modelyard.serving.root import ARTEFACTS_FOLDER
from modelyard.store.store import Store
from modelyard.worker.processes import die_with_parent, exit_at_once

log = logging.getLogger(__name__)

EXIT_LOST = 3


class Orders(msgspec.Struct, frozen=True):
    """What a gateway is told as it starts: the server's settings, where it is followed, where calls are passed on to,
    and the secret for both."""

    settings: Settings
    address: str
    calls: str
    secret: str

    def encode(self) -> bytes:
        """As bytes."""
        return msgspec.json.encode(self, enc_hook=str)


def read_orders(data: bytes) -> Orders:
    """The inverse of `encode`."""

    def to_path(kind: type, value: Any) -> Any:
        return Path(value)

    return msgspec.json.decode(data, type=Orders, dec_hook=to_path)


async def serve(orders: Orders, listener: socket.socket, number: int) -> None:
    """Serves until told to stop."""
    settings = orders.settings
    async with AsyncExitStack() as stack:
        store = await asyncio.to_thread(Store.open, settings.store_url)
        stack.callback(store.close)
        aliases = Aliases(store.aliases)
        follower = Follower(aliases, end_at_once)
        stack.push_async_callback(follower.close)
        await follower.connect(orders.address, orders.secret, number)
        app = await open_app(stack, orders, follower, store, aliases)
        keep_pauses_short()
        follower.tell(frames.Serving())
        proxies = Proxies(settings.trusted_proxies, settings.proxy_header)
        await run(app, listener, lambda: None, connection_limits_of(settings), proxies)


async def open_app(stack: AsyncExitStack, orders: Orders, follower: Follower, store: Store, aliases: Aliases) -> App:
    """Everything between HTTP and the process that is followed; `stack` closes it."""
    settings, clock = orders.settings, SystemClock()
    slots = FollowedSlots(follower)
    stack.push_async_callback(slots.close)
    calls = PassedOn(orders.calls, orders.secret)
    stack.push_async_callback(calls.close)
    providers = read_providers(settings.provider_urls)
    kept = Kept(
        Artefacts(settings.data_dir / ARTEFACTS_FOLDER, settings.artefact_ttl_s, clock),
        KeptResponses(store.responses, clock, response_limits_of(settings)),
    )
    provided = await asyncio.to_thread(open_provided, providers)
    reserve_s = settings.billing_reserve_s
    inferences, surfaces = await open_inferences(
        stack,
        settings,
        FollowedAdmission(follower, Counts(follower), settings.rate_limit),
        aliases,
        FollowedPlane(follower),
        slots,
        Metering(FollowedBooks(follower), SteadyClock(clock), tariff_of(settings), reserve_s, follower.server_id),
        FollowedTallies(follower),
        kept,
        Closed(providers, provided, read_keys(settings.provider_keys, providers)),
    )
    return App(inferences, surfaces, calls)


def end_at_once() -> None:
    """Without the server that it follows a gateway can answer nothing; that one starts another, if it lives."""
    log.critical("the server that this gateway follows is gone; it ends")
    exit_at_once(EXIT_LOST)


def main() -> None:
    """Entry of the process."""
    listener, parent, number = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    die_with_parent(parent)
    orders = read_orders(sys.stdin.buffer.read())
    configure_logging(orders.settings.log_level)
    return_large_blocks()
    if sys.platform == "linux":
        from modelyard.worker.sandbox.system import hide_memory

        hide_memory()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(orders, socket.socket(fileno=listener), number))
    exit_at_once(0)


if __name__ == "__main__":
    main()
