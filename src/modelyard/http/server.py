"""How this program serves HTTP, in whichever process: the socket, and uvicorn's configuration. Owns no application."""

from __future__ import annotations

import socket
from typing import Any

import uvicorn

from modelyard.errors import CannotListen

GRACEFUL_S = 10
"""How long requests in progress may take once the server was told to stop."""
KEEP_ALIVE_S = 75
"""How long an idle connection stays open: longer than the usual proxy in front of a server keeps its own."""
BACKLOG = 2048
"""Connections that may wait to be accepted. Source: uvicorn's default."""


def uvicorn_config(app: Any) -> uvicorn.Config:
    """The configuration for an ASGI application that has no lifespan. Logging stays as the process has set it up."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACEFUL_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
    )


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket, which no child inherits. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotListen(f"Cannot listen on {host}:{port}: {error.strerror}.", host=host, port=port) from error
    listener.listen(BACKLOG)
    listener.set_inheritable(False)
    return listener


def url_of(listener: socket.socket) -> str:
    """The URL to reach a listening socket by, on this machine."""
    host, port = listener.getsockname()[:2]
    return f"http://{'localhost' if host in ('127.0.0.1', '0.0.0.0', '::', '::1') else host}:{port}"  # noqa: S104
