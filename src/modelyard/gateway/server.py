"""Runs the application under uvicorn until it is told to stop.

Owns the process's logging and signals, and what may hold up its event loop.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn

from modelyard.config import JSON, TEXT
from modelyard.http.connections import ConnectionLimits
from modelyard.http.exchange import App
from modelyard.http.proxies import Proxies
from modelyard.http.server import listen, uvicorn_config
from modelyard.telemetry.log_lines import write_json_lines
from modelyard.tls import Entrance, LinkTls

QUIET_LOGGERS = ("alembic", "uvicorn.error", "httpx")
"""Loggers whose everyday messages say nothing to an operator."""

YOUNG_OBJECTS = 3500
"""How many make a collection of what is young, which takes 0.23 µs for each; by Python's default 700. Sixty-four
requests under way are made of 2,900."""
YOUNG_COLLECTIONS, OLDER_COLLECTIONS = 0, 130
"""What has survived one of them is looked through with the next, by Python's default with the eleventh after it: of
what many boots make, all of which stays, a collection looks through twice as many objects at most. After how many of
these everything is that was not put by (`lasting_objects`): two hundred thousand requests of sixty-four clients."""
DATE_S = 1.0
"""How often the date in answers is set."""
THREAD_TURN_S = 0.0002
"""How long a thread that computes keeps the event loop from going on, by Python's default 5 ms at a time. Measured: the
journal's writer then costs every request that comes meanwhile several turns."""


def configure_logging(level: str, form: str = TEXT) -> None:
    """Sets up the process's log, on standard error. `level`: a name that `logging` knows; `form`: text or json."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    if form == JSON:
        write_json_lines()
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


def keep_pauses_short() -> None:
    """Has nothing in this process hold up the event loop for long, whatever the requests.

    What is there by now stays as long as the process: collections need not look through it again and again, which takes
    100 ms each time.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, OLDER_COLLECTIONS)
    sys.setswitchinterval(THREAD_TURN_S)


async def run(
    app: App,
    listener: socket.socket,
    on_stop: Callable[[], None],
    limits: ConnectionLimits,
    proxies: Proxies,
) -> None:
    """Serves on a listening socket until SIGINT or SIGTERM, then lets requests in progress end within a deadline.

    `on_stop` is called when the signal comes.
    """
    await Server(uvicorn_config(app, limits, proxies), on_stop).serve(sockets=[listener])


def serve_beside(
    stack: AsyncExitStack,
    app: Any,
    listener: socket.socket,
    limits: ConnectionLimits | None = None,
    tls: LinkTls | None = None,
) -> None:
    """Serves another application, for those who run this server or its gateways, until the stack is closed: by then
    nothing is under way there. `tls`: what is shown to them, and wanted of them."""
    config = uvicorn_config(app, limits)
    server = Beside(config) if tls is None else BesideWithTls(config, tls)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="serves beside")

    async def end() -> None:
        server.end()
        await task

    stack.push_async_callback(end)


def serve_metrics(stack: AsyncExitStack, app: Any, host: str, port: int) -> None:
    """Tells the metrics on a port of their own; none where it is 0. Raises CannotListen."""
    if port:
        serve_beside(stack, app, stack.enter_context(listen(host, port)))


class IdleServer(uvicorn.Server):
    """uvicorn, except that it is told when to end: it looks ten times a second whether it is to, also while nobody asks
    anything of it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        """Has it end, as a signal does. On its loop."""
        self.should_exit = True
        self._ending.set()

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(DATE_S):
                    await self._ending.wait()


class Beside(IdleServer):
    """One of which signals are none of its business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class BesideWithTls(Beside):
    """The same for those who show a certificate; who is refused is logged, which uvicorn would not do."""

    def __init__(self, config: uvicorn.Config, tls: LinkTls) -> None:
        super().__init__(config)
        self._tls = tls
        self._entrances: list[Entrance] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes connections from now on."""
        self.servers = []
        self._entrances = [Entrance(each, self._make_connection, self._tls) for each in sockets or []]
        for entrance in self._entrances:
            entrance.open()
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Takes no more, and lets requests in progress end within a deadline."""
        for entrance in self._entrances:
            await entrance.close()
        await super().shutdown(sockets)

    def _make_connection(self) -> asyncio.Protocol:
        make: Any = self.config.http_protocol_class
        made: asyncio.Protocol = make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        return made


class Server(IdleServer):
    """One that a signal only asks to stop: uvicorn would raise it again before replicas are stopped."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_stop()
        super().handle_exit(sig, frame)
        self._ending.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
