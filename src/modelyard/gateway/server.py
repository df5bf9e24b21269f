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
from modelyard.errors import Unavailable
from modelyard.gateway.app import App
from modelyard.serving import Services

GRACEFUL_S = 10
"""How long requests in progress may take once the server was told to stop."""
KEEP_ALIVE_S = 75
"""How long an idle connection stays open: longer than the usual proxy in front of a server keeps its own."""
QUIET = ("alembic", "uvicorn.error", "httpx")
"""Loggers whose everyday messages say nothing to an operator."""


def serve(settings: Settings, on_start: Callable[[Services, str], None]) -> None:
    """Serves until SIGINT or SIGTERM: refuse → drain with a deadline → stop replicas → release.

    `on_start` gets the open services and the server's URL, on the event loop. Raises Unavailable when the address or
    the data folder is taken or the database cannot be opened.
    """
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True
    )
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    with bind(settings.host, settings.port) as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, listener, on_start))


async def _serve(settings: Settings, listener: socket.socket, on_start: Callable[[Services, str], None]) -> None:
    async with Services(settings) as services:
        config = uvicorn.Config(
            App(services),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACEFUL_S,
            timeout_keep_alive=KEEP_ALIVE_S,
            server_header=False,
        )
        on_start(services, url_of(listener))
        await Server(config).serve(sockets=[listener])


class Server(uvicorn.Server):
    """uvicorn, except that a signal only asks it to stop: uvicorn would raise it again before replicas are stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def url_of(listener: socket.socket) -> str:
    """The URL to reach a listening socket by, on this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0', '::', '::1') else host}:{port}"  # noqa: S104


def bind(host: str, port: int) -> socket.socket:
    """A listening TCP socket. Raises Unavailable, saying what to do."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another address with --host or --port."
        ) from error
    listener.listen(2048)
    listener.set_inheritable(False)
    return listener
