"""Web servers on this machine that answer as told, and as badly as told, on plain sockets."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Self

Answer = Callable[[socket.socket, bytes], None]
"""Writes the answer to a request's head on a connection."""


class Host:
    """Listens on 127.0.0.1 until it is left; `requests` are the heads it got."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.requests: list[bytes] = []
        self._connections: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            connection.close()
        self._thread.join(30)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = connection.recv(65536)
                if not piece:
                    return
                head += piece
            self.requests.append(head)
            self._answer(connection, head)
            connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client has left, as it may
        finally:
            connection.close()


def file(data: bytes, status: str = "200 OK") -> Answer:
    """A whole file."""
    return lambda connection, _: connection.sendall(
        f"HTTP/1.1 {status}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
    )


def redirect(location: str, status: str = "302 Found") -> Answer:
    """A redirect."""
    return lambda connection, _: connection.sendall(
        f"HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()
    )


def promise(size: int) -> Answer:
    """A file of `size` bytes that never comes."""

    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(f"HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n".encode())
        connection.recv(1)

    return answer


def endless(connection: socket.socket, _: bytes) -> None:
    """A file without end, as fast as it goes."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(65536))


def drip(connection: socket.socket, _: bytes) -> None:
    """A byte every now and then, for ever: no read of it ever takes long."""
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
    connection.settimeout(0.02)
    while True:
        connection.sendall(b"x")
        try:
            if connection.recv(1) == b"":
                return
        except TimeoutError:
            continue


def silence(connection: socket.socket, _: bytes) -> None:
    """Nothing, for ever."""
    connection.recv(1)
