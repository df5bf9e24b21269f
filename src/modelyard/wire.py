"""Frames between a server and its workers: 4-byte big-endian length, then a `protocol.Frame` in msgpack.

Owns the encoding and its limits; does nothing with what it has read. Many requests share a connection.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from typing import Any

import msgspec

from modelyard.protocol import Frame

_LENGTH = struct.Struct(">I")
MAX_FRAME_BYTES = 256 * 1024**2
"""Larger than any body the gateway accepts; a longer length means the stream is out of step."""
MAX_ANSWER_BYTES = 128 * 1024**2
"""The largest frame a server takes from a worker: hours of sound, minutes of video."""
LARGE_FRAME_BYTES = 1024**2
"""Larger frames are read one at a time in a server, whoever sends them: they are in memory three times meanwhile."""
LARGE_FRAME_S = 60.0
"""How long one may take to arrive."""
MAX_GREETING_BYTES = 4096
"""The first frame of a peer that has proved nothing yet."""

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


class Blob:
    """Bytes in a frame that are sent from where they lie. Of `encode_pieces` only; whoever reads gets plain bytes."""

    __slots__ = ("data",)

    def __init__(self, data: bytes | bytearray) -> None:
        self.data = data


_GAP = secrets.token_bytes(16)
"""Stands for a Blob while the rest is encoded. Nobody outside this process can write it into a frame."""
_GAP_ENCODED = msgspec.msgpack.encode(_GAP)
_BIN_32 = struct.Struct(">BI")
"""The head of a msgpack byte string of up to 4 GiB. Source: the msgpack specification, bin format family."""


class BrokenStream(Exception):
    """The peer sent something that is not a frame; the connection cannot be used further."""


class EndedInFrame(BrokenStream):
    """The peer is gone, in the middle of a frame: it may have died, and be to blame for nothing."""


class WrongFrame(BrokenStream):
    """The length was right and what followed is not a frame, or a frame with wrong fields."""


class Unsendable(Exception):
    """This does not go into a frame: too large, or of a type that msgpack does not know. Nothing was sent."""


def encode(frame: Frame) -> bytes:
    """The frame's bytes, length first. Raises Unsendable."""
    try:
        payload = _encoder.encode(frame)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unsendable(f"cannot be sent: {error}") from error
    if len(payload) > MAX_FRAME_BYTES:
        raise Unsendable(f"too large to be sent: {len(payload)} bytes, at most {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


def encode_pieces(frame: Frame) -> list[bytes | bytearray]:
    """`encode` in pieces to be sent one after another, each Blob among them as it is: copying 40 MB into a frame holds
    up everything else in the process for 50 ms. Raises Unsendable."""
    try:
        return [encode(frame)]
    except Unsendable as error:
        if not isinstance(error.__cause__, TypeError):
            raise
    return encode_around_blobs(frame)


def encode_around_blobs(frame: Frame) -> list[bytes | bytearray]:
    """See `encode_pieces`; slower where there is no Blob."""
    blobs: list[Blob] = []

    def leave_gap(value: Any) -> bytes:
        if not isinstance(value, Blob):
            raise TypeError(f"objects of type {type(value).__name__}")
        blobs.append(value)
        return _GAP

    try:
        payload = msgspec.msgpack.encode(frame, enc_hook=leave_gap)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unsendable(f"cannot be sent: {error}") from error
    first, *others = payload.split(_GAP_ENCODED)
    pieces: list[bytes | bytearray] = [first]
    for blob, part in zip(blobs, others, strict=True):
        pieces += [_BIN_32.pack(0xC6, len(blob.data)), blob.data, part]
    size = sum(map(len, pieces))
    if size > MAX_FRAME_BYTES:
        raise Unsendable(f"too large to be sent: {size} bytes, at most {MAX_FRAME_BYTES}")
    return [_LENGTH.pack(size), *pieces]


def decode(payload: bytes) -> Frame:
    """The inverse of `encode` for one frame, without its length. Raises WrongFrame."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise WrongFrame(f"not a frame: {error}") from error


async def read_frame(
    reader: asyncio.StreamReader, max_bytes: int = MAX_FRAME_BYTES, turn: asyncio.Lock | None = None
) -> Frame | None:
    """The next frame, of at most `max_bytes`, or None when the peer closed the connection between frames.

    With `turn`, a large one is read while holding it, within LARGE_FRAME_S. Raises: BrokenStream when the peer closed
    inside a frame, or sent something else.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise EndedInFrame("connection closed inside a frame") from error
        return None
    except ConnectionError:
        return None
    if length > max_bytes:
        raise BrokenStream(f"frame of {length} bytes; at most {max_bytes}")
    try:
        if turn is not None and length > LARGE_FRAME_BYTES:
            return await read_large(reader, length, turn)
        return decode(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise EndedInFrame("connection closed inside a frame") from error


async def read_large(reader: asyncio.StreamReader, length: int, turn: asyncio.Lock) -> Frame:
    """The rest of a large frame. Raises BrokenStream, IncompleteReadError, ConnectionError."""
    async with turn:
        try:
            async with asyncio.timeout(LARGE_FRAME_S):
                payload = await reader.readexactly(length)
        except TimeoutError:
            raise BrokenStream(f"a frame of {length} bytes was not there within {LARGE_FRAME_S:.0f} s") from None
        return decode(payload)
