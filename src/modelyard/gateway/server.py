"""Runs the application under uvicorn until it is told to stop. Owns the process's logging, signals and socket."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
import uvloop

from modelyard.config import Settings
from modelyard.gateway.app import App
from modelyard.http.server import listen, url_of, uvicorn_config
from modelyard.serving import Services

QUIET_LOGGERS = ("alembic", "uvicorn.error", "httpx")
"""Loggers whose everyday messages say nothing to an operator."""


def serve(settings: Settings, on_start: Callable[[Services, str], None]) -> None:
    """Serves until SIGINT or SIGTERM: refuse → drain with a deadline → stop replicas → release.

    `on_start` gets the open services and the server's URL, on the event loop. Raises Unavailable when the address or
    the data folder is taken or the database cannot be opened.
    """
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True
    )
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    with listen(settings.host, settings.port) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener, on_start))


async def _serve(settings: Settings, listener: socket.socket, on_start: Callable[[Services, str], None]) -> None:
    async with Services(settings) as services:
        on_start(services, url_of(listener))
        await Server(uvicorn_config(App(services))).serve(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn, except that a signal only asks it to stop: uvicorn would raise it again before replicas are stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
