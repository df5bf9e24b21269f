"""One server, from its start to its end."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from modelyard.config import MOST_GATEWAYS, Settings
from modelyard.errors import InvalidRequest
from modelyard.gateway.request_memory import return_large_blocks
from modelyard.gateway.server import configure_logging, keep_pauses_short, run, serve_metrics
from modelyard.http.proxies import Proxies
from modelyard.http.server import listen, listen_shared, url_of
from modelyard.records.models import Listing
from modelyard.serving.from_settings import connection_limits_of, open_engine, shares_database
from modelyard.serving.root import MakeEngine, Root


@dataclass(frozen=True, slots=True)
class Started:
    """What whoever started a server may tell of it. `first_key`: the first account's, if it was just made; it is not
    stored. `list_models`: the first so many models that can be served, and how many there are."""

    url: str
    data_dir: Path
    first_key: str | None
    list_models: Callable[[int], Awaitable[tuple[Sequence[Listing], int]]]


def serve(
    settings: Settings,
    on_start: Callable[[Started], None],
    on_stop: Callable[[], None] = lambda: None,
    make_engine: MakeEngine = open_engine,
) -> None:
    """Serves until SIGINT or SIGTERM: refuse → drain with a deadline → stop replicas → release.

    Both are called on the event loop: `on_start` once requests are accepted, `on_stop` when the signal comes.
    `make_engine`: the engine that the settings name. Raises Unavailable when the address or the data folder is taken or
    the database cannot be opened.
    """
    configure_logging(settings.log_level, settings.log_format)
    proxies = Proxies(settings.trusted_proxies, settings.proxy_header)
    proxies.check()
    return_large_blocks()
    if sys.platform == "linux":
        from modelyard.worker.sandbox.system import hide_memory

        hide_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, open_listeners(settings) as listeners:
        if shares_database(settings):
            from modelyard.serving.one_of_several import OneOfSeveral

            def started(root: Root) -> None:
                on_start(describe(settings, listeners, root))

            runner.run(OneOfSeveral(settings, listeners, make_engine, started).run(on_stop))
        else:
            runner.run(_serve_alone(settings, listeners, proxies, make_engine, on_start, on_stop))


@contextmanager
def open_listeners(settings: Settings) -> Iterator[Sequence[socket.socket]]:
    """A listening socket for each gateway. Raises CannotListen; InvalidRequest for a number of gateways that there
    cannot be."""
    count = settings.gateways
    most = MOST_GATEWAYS if sys.platform == "linux" else 1
    if not 1 <= count <= most:
        raise InvalidRequest(field="gateways", got=count, accepted=f"1 to {most}" if most > 1 else "1 on this system")
    with ExitStack() as stack:
        if count == 1:
            found = [listen(settings.host, settings.port)]
        else:
            found = listen_shared(settings.host, settings.port, count)
        for each in found:
            stack.enter_context(each)
        yield found


async def _serve_alone(
    settings: Settings,
    listeners: Sequence[socket.socket],
    proxies: Proxies,
    make_engine: MakeEngine,
    on_start: Callable[[Started], None],
    on_stop: Callable[[], None],
) -> None:
    """As the one server of its database."""
    root = Root(settings, make_engine=make_engine)
    async with AsyncExitStack() as stack:
        app = await root.open(stack)
        serve_metrics(stack, root.metrics.app(), settings.metrics_host, settings.metrics_port)
        keep_pauses_short()
        started = describe(settings, listeners, root)
        if len(listeners) == 1:
            on_start(started)

            def stop() -> None:
                root.streams.stop()
                on_stop()

            await run(app, listeners[0], stop, connection_limits_of(settings), proxies)
        else:
            from modelyard.serving.several import run_gateways

            await run_gateways(stack, settings, listeners, root, lambda: on_start(started))
            on_stop()


def describe(settings: Settings, listeners: Sequence[socket.socket], root: Root) -> Started:
    """What may be told of a server that has started."""
    return Started(url_of(listeners[0]), settings.data_dir, root.first_key, root.list_models)
