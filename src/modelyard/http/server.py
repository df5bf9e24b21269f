"""How this program serves HTTP, in whichever process: the socket, and uvicorn's configuration. Owns no application."""

from __future__ import annotations

import socket
from functools import partial
from typing import Any

import uvicorn

from modelyard.errors import CannotListen
from modelyard.http.connection import Connection
from modelyard.http.connections import ConnectionLimits, Connections
from modelyard.http.proxies import Proxies, believe_proxies

GRACEFUL_S = 10
"""How long requests in progress may take once the server was told to stop."""
BACKLOG = 2048
"""Connections that may wait to be accepted. Source: uvicorn's default."""


def uvicorn_config(app: Any, limits: ConnectionLimits | None = None, proxies: Proxies | None = None) -> uvicorn.Config:
    """The configuration for an ASGI application that has no lifespan. Logging stays as the process has set it up."""
    protocol: Any = partial(Connection, Connections(limits or ConnectionLimits()))
    return uvicorn.Config(
        believe_proxies(app, proxies or Proxies()),
        http=protocol,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACEFUL_S,
        server_header=False,
        proxy_headers=False,
    )


def listen_shared(host: str, port: int, count: int) -> list[socket.socket]:
    """So many listening sockets of one port, over which the kernel spreads connections. Raises CannotListen where
    anybody else, another server of this user included, has the port."""
    with listen(host, port) as alone:
        port = alone.getsockname()[1]
    listeners: list[socket.socket] = []
    try:
        while len(listeners) < count:
            listeners.append(listen(host, port, is_shared=True))
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def listen(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """A listening TCP socket, which no child inherits. `is_shared`: others of this user may listen there too, who say
    the same. Raises CannotListen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
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
