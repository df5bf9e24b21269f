"""Runs the application under uvicorn until it is told to stop. Owns the process's logging and its listening socket."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable

import uvicorn

from modelyard.config import Settings
from modelyard.errors import Unavailable
from modelyard.gateway.app import App
from modelyard.gateway.services import Services

GRACEFUL_S = 10
"""How long requests in progress may take once the server was told to stop."""


def serve(settings: Settings, on_start: Callable[[Services, str], None]) -> None:
    """Serves until SIGINT or SIGTERM: refuse → drain with a deadline → stop replicas → release.

    `on_start` gets the open services and the server's URL. Raises Unavailable when the address is taken.
    """
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)-7s %(name)s: %(message)s", force=True
    )
    for name in ("alembic", "uvicorn.error", "httpx"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    listener = bind(settings.host, settings.port)
    host, port = listener.getsockname()[:2]
    url = f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0', '::', '::1') else host}:{port}"  # noqa: S104
    app = App(settings, on_start=lambda services: on_start(services, url))
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=GRACEFUL_S,
        timeout_keep_alive=75,
        server_header=False,
        date_header=True,
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])


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
