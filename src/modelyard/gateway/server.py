"""Runs the application under uvicorn until it is told to stop. Owns the process's logging and signals."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from modelyard.gateway.app import App
from modelyard.http.connections import ConnectionLimits
from modelyard.http.proxies import Proxies
from modelyard.http.server import uvicorn_config

QUIET_LOGGERS = ("alembic", "uvicorn.error", "httpx")
"""Loggers whose everyday messages say nothing to an operator."""


def configure_logging(level: str) -> None:
    """Sets up the process's log, on standard error. `level`: a name that `logging` knows."""
    logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))


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


async def run_beside(app: ASGIApp, listener: socket.socket) -> None:
    """Serves another application, for those who run this server, until it is cancelled."""
    await Beside(uvicorn_config(app)).serve(sockets=[listener])


class Beside(uvicorn.Server):
    """uvicorn, except that signals are none of its business."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server(uvicorn.Server):
    """uvicorn, except that a signal only asks it to stop: uvicorn would raise it again before replicas are stopped."""

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_stop()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield
