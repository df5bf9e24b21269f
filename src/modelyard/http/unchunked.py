"""Answers of unknown length for clients of HTTP/1.0, which know no chunks: such a body ends with its connection.

uvicorn sends chunks to everybody. Owns how the end of a whole body is told from that of one that breaks off.
"""

from __future__ import annotations

import socket
import struct

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from modelyard.http.exchange import App, Message, Receive, Scope, Send

RESET, ORDERLY = struct.pack("ii", 1, 0), struct.pack("ii", 0, 0)
"""How a connection ends that is closed, by whomever: with an error for its client, or with all that was sent.
Source: SO_LINGER in socket(7)."""


def unchunked(app: App, cycle: RequestResponseCycle) -> App:
    """`app`, for the one request of `cycle`: what it answers is sent as it is, without a frame around its pieces.

    Until the last of them the connection would end with a reset, so that nobody takes what has come for the whole.
    """
    is_plain = False

    async def send_plain(message: Message) -> None:
        nonlocal is_plain
        if message["type"] == "http.response.start":
            is_plain = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if is_plain:
                cycle.chunked_encoding = False
                end_with(cycle, RESET)
        elif is_plain:
            cycle.expected_content_length = len(message.get("body", b""))  # uvicorn counts down what was announced
            if not message.get("more_body"):
                end_with(cycle, ORDERLY)
        await cycle.send(message)  # type: ignore[arg-type]

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send_plain)

    return answer


def end_with(cycle: RequestResponseCycle, how: bytes) -> None:
    """Says how the connection is to end, whenever it is closed."""
    cycle.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)
