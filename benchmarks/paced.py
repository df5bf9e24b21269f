"""Requests at a pace, whatever becomes of those before, from a client that costs next to nothing: one thread on plain
sockets, which waits to the microsecond (the timers of asyncio's loops wait whole milliseconds). What a dearer client
measures beside a busy server is its own queue.
"""

from __future__ import annotations

import select
import socket
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator

from modelyard.protocol import Done, Failure, Hello, Request
from modelyard.wire import decode, encode

LENGTH_BYTES = 4
READ_BYTES = 65536


class Asked(ABC):
    """A server that is asked one request over and over. `sockets`: what its answers come from."""

    sockets: list[socket.socket]

    @property
    @abstractmethod
    def is_free(self) -> bool:
        """Whether `send` would send at once."""

    @abstractmethod
    def send(self) -> None:
        """Sends one more request."""

    @abstractmethod
    def read(self, sock: socket.socket) -> Iterator[float]:
        """When each request was sent that is answered by what has come, in seconds of perf_counter."""


class AskedOverHttp(Asked):
    """Over connections that stay open, one request at a time on each."""

    def __init__(self, port: int, request: bytes, connections: int) -> None:
        self.sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        for sock in self.sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._free = deque(self.sockets)
        self._begun: dict[socket.socket, float] = {}
        self._unread = dict.fromkeys(self.sockets, b"")

    @property
    def is_free(self) -> bool:
        return bool(self._free)

    def send(self) -> None:
        sock = self._free.popleft()
        self._begun[sock] = time.perf_counter()
        sock.sendall(self._request)

    def read(self, sock: socket.socket) -> Iterator[float]:
        answer = self._unread[sock] + sock.recv(READ_BYTES)
        head, found, body = answer.partition(b"\r\n\r\n")
        self._unread[sock] = answer
        if found and len(body) == int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            assert head.startswith(b"HTTP/1.1 200 "), head
            self._unread[sock] = b""
            self._free.append(sock)
            yield self._begun.pop(sock)


class AskedOverLink(Asked):
    """Over one connection to a replica, in frames."""

    def __init__(self, connected: socket.socket, secret: str, fields: dict[str, str]) -> None:
        self._socket = connected
        self._socket.sendall(encode(Hello(secret)))
        self.sockets = [self._socket]
        self._fields = fields
        self._begun: dict[int, float] = {}
        self._sent = 0
        self._unread = b""

    @property
    def is_free(self) -> bool:
        return True

    def send(self) -> None:
        self._sent += 1
        self._begun[self._sent] = time.perf_counter()
        self._socket.sendall(encode(Request(self._sent, self._fields, {})))

    def read(self, sock: socket.socket) -> Iterator[float]:
        self._unread += sock.recv(READ_BYTES)
        while len(self._unread) >= LENGTH_BYTES:
            end = LENGTH_BYTES + int.from_bytes(self._unread[:LENGTH_BYTES])
            if len(self._unread) < end:
                return
            frame = decode(self._unread[LENGTH_BYTES:end])
            self._unread = self._unread[end:]
            assert not isinstance(frame, Failure), frame
            if isinstance(frame, Done):
                yield self._begun.pop(frame.id)


def ask_at_pace(asked: Asked, rate: float, seconds: float) -> list[float]:
    """How long each request took, in seconds, of those that are sent at such a rate per second for so long."""
    begun = time.perf_counter()
    due = [begun + number / rate for number in range(int(rate * seconds))]
    took: list[float] = []
    sent = 0
    while len(took) < len(due):
        now = time.perf_counter()
        while sent < len(due) and due[sent] <= now and asked.is_free:
            asked.send()
            sent += 1
        left = max(0.0, due[sent] - time.perf_counter()) if sent < len(due) and asked.is_free else None
        for sock in select.select(asked.sockets, [], [], left)[0]:
            took.extend(time.perf_counter() - since for since in asked.read(sock))
    return took


def find_peak(asked: Asked, in_flight: int, requests: int) -> float:
    """Requests per second, with so many in flight all the time."""
    begun = time.perf_counter()
    sent = answered = 0
    while answered < requests:
        while sent < requests and sent - answered < in_flight:
            asked.send()
            sent += 1
        for sock in select.select(asked.sockets, [], [])[0]:
            answered += len(list(asked.read(sock)))
    return requests / (time.perf_counter() - begun)
