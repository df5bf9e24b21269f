"""Frames between a server and its workers: 4-byte big-endian length, then msgpack `[kind, id, body]`.

Owns the encoding and its limits; knows nothing of what the bodies mean. Many requests share a connection: `id` is
the request a frame belongs to, 0 for the connection itself.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 256 * 1024**2
"""Larger than any body the gateway accepts; a longer length means the stream is out of step."""
MAX_GREETING_BYTES = 4096
"""The first frame of a peer that has proved nothing yet."""


class Kind(IntEnum):
    """What a frame is. `HELLO` is the first in each direction; its body proves the peer knows the secret."""

    HELLO = 0
    STATUS = 1
    REQUEST = 2
    CHUNK = 3
    DONE = 4
    ERROR = 5
    CANCEL = 6
    PING = 7
    PONG = 8
    CONFIGURE = 9


class Frame(NamedTuple):
    """One message. `body` is anything msgpack can carry."""

    kind: Kind
    id: int
    body: Any = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[Kind, int, Any])


class Blob:
    """Bytes in a body that are sent from where they lie. Of `encode_pieces` only; whoever reads gets plain bytes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data


_GAP = secrets.token_bytes(16)
"""Stands for a Blob while the rest is encoded. Nobody outside this process can write it into a body."""
_GAP_ENCODED = msgspec.msgpack.encode(_GAP)
_BIN_32 = struct.Struct(">BI")
"""The head of a msgpack byte string of up to 4 GiB. Source: the msgpack specification, bin format family."""


class BrokenStream(Exception):
    """The peer sent something that is not a frame; the connection cannot be used further."""


class Unsendable(Exception):
    """This body does not go into a frame: too large, or of a type that msgpack does not know. Nothing was sent."""


def encode(frame: Frame) -> bytes:
    """The frame's bytes, length first. Raises Unsendable."""
    try:
        payload = _encoder.encode((int(frame.kind), frame.id, frame.body))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unsendable(f"cannot be sent: {error}") from error
    if len(payload) > MAX_FRAME_BYTES:
        raise Unsendable(f"too large to be sent: {len(payload)} bytes, at most {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


def encode_pieces(frame: Frame) -> list[bytes | bytearray]:
    """`encode` in pieces to be sent one after another, each Blob among them as it is: copying 40 MB into a frame holds
    up everything else in the process for 50 ms. Raises Unsendable."""
    blobs: list[Blob] = []

    def leave_gap(value: Any) -> bytes:
        if not isinstance(value, Blob):
            raise TypeError(f"objects of type {type(value).__name__}")
        blobs.append(value)
        return _GAP

    try:
        payload = msgspec.msgpack.encode((int(frame.kind), frame.id, frame.body), enc_hook=leave_gap)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unsendable(f"cannot be sent: {error}") from error
    first, *others = payload.split(_GAP_ENCODED) if blobs else [payload]
    pieces: list[bytes | bytearray] = [first]
    for blob, part in zip(blobs, others, strict=True):
        pieces += [_BIN_32.pack(0xC6, len(blob.data)), blob.data, part]
    size = sum(map(len, pieces))
    if size > MAX_FRAME_BYTES:
        raise Unsendable(f"too large to be sent: {size} bytes, at most {MAX_FRAME_BYTES}")
    return [_LENGTH.pack(size), *pieces] if blobs else [_LENGTH.pack(size) + first]


def decode(payload: bytes) -> Frame:
    """The inverse of `encode` for one frame, without its length. Raises BrokenStream."""
    try:
        return Frame(*_decoder.decode(payload))
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise BrokenStream(f"not a frame: {error}") from error


async def read_frame(reader: asyncio.StreamReader, max_bytes: int = MAX_FRAME_BYTES) -> Frame | None:
    """The next frame, of at most `max_bytes`, or None when the peer closed the connection between frames.

    Raises: BrokenStream when it closed inside one, or sent something else.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise BrokenStream("connection closed inside a frame") from error
        return None
    except ConnectionError:
        return None
    if length > max_bytes:
        raise BrokenStream(f"frame of {length} bytes; at most {max_bytes}")
    try:
        return decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise BrokenStream("connection closed inside a frame") from error
