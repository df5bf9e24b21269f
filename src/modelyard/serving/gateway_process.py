"""A gateway in a process of its own: answers HTTP on a socket that it was given, and follows the server that leads.

`python -m modelyard.serving.gateway_process`: argv[1] is the listening socket's descriptor, argv[2] the id of the
process that has started it, argv[3] this gateway's number; its orders come on standard input. It writes a line on
standard output when it takes requests. It ends with who has started it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.calls import CallBudget
from modelyard.accounts.keys import Authenticator
from modelyard.accounts.pricing import tariff_of
from modelyard.catalog.provided import open_provided
from modelyard.clock import SteadyClock, SystemClock
from modelyard.config import Settings
from modelyard.control.journal import Journal
from modelyard.errors import Unavailable
from modelyard.gateway.app import App, make_calls
from modelyard.gateway.artefacts import ArtefactCalls, serve_own
from modelyard.gateway.following.calls import CallsAddress, PassedOn
from modelyard.gateway.following.follower import Counts, Follower
from modelyard.gateway.following.leaders import Leaders
from modelyard.gateway.following.requests import FollowedAdmission, FollowedBooks, FollowedTallies, WrittenBooks
from modelyard.gateway.following.slots import FollowedPlane, FollowedSlots
from modelyard.gateway.kept_responses import KeptResponses
from modelyard.gateway.metering import Books, Metering
from modelyard.gateway.request_memory import return_large_blocks
from modelyard.gateway.server import configure_logging, keep_pauses_short, run
from modelyard.http.proxies import Proxies
from modelyard.media.artefacts import Artefacts
from modelyard.records.providers import read_keys, read_providers
from modelyard.serving.from_settings import connection_limits_of, response_limits_of
from modelyard.serving.front import Closed, Kept, open_inferences
from modelyard.serving.root import ARTEFACTS_FOLDER
from modelyard.serving.tasks import start_task
from modelyard.serving.telemetry import open_exporter
from modelyard.store.database import Database
from modelyard.store.leases import LEASE_LOCK_S, Leases
from modelyard.store.store import Store
from modelyard.telemetry.exporter import Exporter
from modelyard.tls import LinkTls, load_tls
from modelyard.worker.processes import die_with_parent, exit_at_once

log = logging.getLogger(__name__)

EXIT_LOST = 3


class Place(msgspec.Struct, frozen=True):
    """Where the one process is that is followed, for questions and for calls that are passed on. `secret`: of both."""

    address: str
    calls: str
    secret: str


class Orders(msgspec.Struct, frozen=True):
    """What a gateway is told as it starts: the server's settings and id, and whom it follows; None: whichever of the
    servers of its database leads."""

    settings: Settings
    server_id: str
    place: Place | None

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
        exporter = open_exporter(stack, settings, f"{orders.server_id}-{number}")
        store = await asyncio.to_thread(Store.open, settings.store_url)
        stack.callback(store.close)
        aliases = Aliases(store.aliases)
        tls = await asyncio.to_thread(load_tls, settings)
        follow = follow_one if orders.place is not None else follow_who_leads
        follower, books, calls = await follow(stack, orders, store, aliases, number, tls)
        app = await open_app(stack, orders, follower, books, calls, store, aliases, exporter, tls)
        while not follower.follows:  # a server that starts alone takes the lead first
            with suppress(Unavailable):
                await follower.wait_followed()
        keep_pauses_short()
        print("serving", flush=True)
        proxies = Proxies(settings.trusted_proxies, settings.proxy_header)
        await run(app, listener, calls.stop, connection_limits_of(settings), proxies)


Followed = tuple[Follower, Books, PassedOn]


async def follow_one(
    stack: AsyncExitStack, orders: Orders, store: Store, aliases: Aliases, number: int, tls: LinkTls | None
) -> Followed:
    """Follows who has started this process, on this machine; without that it can answer nothing."""
    place = orders.place
    assert place is not None  # noqa: S101 - asked before
    follower = Follower(aliases, end_at_once)
    stack.push_async_callback(follower.close)
    await follower.connect(place.address, place.secret, number)

    async def find() -> CallsAddress:
        return CallsAddress(place.calls, place.secret)

    return follower, FollowedBooks(follower), PassedOn(find)


async def follow_who_leads(
    stack: AsyncExitStack, orders: Orders, store: Store, aliases: Aliases, number: int, tls: LinkTls | None
) -> Followed:
    """Follows whichever server leads. What requests came to is written here, whoever leads and may die."""
    follower = Follower(aliases, lambda: None, others_may_lead=True)
    stack.push_async_callback(follower.close)
    journal = Journal(store, SystemClock())
    books = WrittenBooks(follower, journal)
    journal.start()
    stack.push_async_callback(journal.close)
    asked = Database(orders.settings.store_url, lock_timeout_s=LEASE_LOCK_S)  # connections that nobody else uses up
    stack.callback(asked.close)
    leaders = Leaders(follower, Leases(asked).find, number, tls)
    start_task(stack, leaders.look_forever(), "who leads")
    return follower, books, PassedOn(leaders.calls_address, tls)


async def open_app(
    stack: AsyncExitStack,
    orders: Orders,
    follower: Follower,
    books: Books,
    calls: PassedOn,
    store: Store,
    aliases: Aliases,
    exporter: Exporter | None,
    tls: LinkTls | None,
) -> App:
    """Everything between HTTP and the process that is followed; `stack` closes it."""
    settings, clock = orders.settings, SystemClock()
    slots = FollowedSlots(follower, tls)
    stack.push_async_callback(slots.close)
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
        FollowedAdmission(follower, Counts(follower), books, settings.rate_limit),
        aliases,
        FollowedPlane(follower),
        slots,
        Metering(books, SteadyClock(clock), tariff_of(settings), reserve_s, orders.server_id),
        FollowedTallies(follower),
        kept,
        Closed(providers, provided, read_keys(settings.provider_keys, providers)),
        exporter,
    )
    if orders.place is not None:
        return App(inferences, surfaces, calls)
    follower.read_file = kept.artefacts.read_piece
    own = ArtefactCalls(kept.artefacts).operations()
    files = make_calls(own, Authenticator(store, clock).authenticate, CallBudget(settings.calls_per_s, clock))
    return App(inferences, surfaces, serve_own(kept.artefacts, files, calls))


def end_at_once() -> None:
    """Without the server that it follows a gateway can answer nothing; that one starts another, if it lives."""
    log.critical("the server that this gateway follows is gone; it ends")
    exit_at_once(EXIT_LOST)


def cores_of(number: int, gateways: int, cores: Collection[int]) -> Collection[int]:
    """Which of these cores the gateway with that number runs on: each an equal part of them, or, where there are fewer
    cores than gateways, all. Two that may run anywhere share one core for some of the time, beside an idle one."""
    if not 1 < gateways <= len(cores):
        return cores
    return sorted(cores)[number::gateways]


def main() -> None:
    """Entry of the process."""
    listener, parent, number = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    die_with_parent(parent)
    orders = read_orders(sys.stdin.buffer.read())
    configure_logging(orders.settings.log_level, orders.settings.log_format)
    return_large_blocks()
    if sys.platform == "linux":
        from modelyard.worker.sandbox.system import hide_memory

        hide_memory()
        os.sched_setaffinity(0, cores_of(number, orders.settings.gateways, os.sched_getaffinity(0)))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(orders, socket.socket(fileno=listener), number))
    exit_at_once(0)


if __name__ == "__main__":
    main()
