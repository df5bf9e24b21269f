"""Frames between processes of a server: 4-byte big-endian length, then a `protocol.Frame` in msgpack.

Owns the encoding, its limits, and one end of a connection; does nothing with what it has read. Many requests share a
connection.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import struct
from collections.abc import Callable
from typing import Any, cast

import msgspec

from modelyard.protocol import Frame

log = logging.getLogger(__name__)

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


def encode(frame: msgspec.Struct) -> bytes:
    """The frame's bytes, length first. Raises Unsendable."""
    try:
        payload = _encoder.encode(frame)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Unsendable(f"cannot be sent: {error}") from error
    if len(payload) > MAX_FRAME_BYTES:
        raise Unsendable(f"too large to be sent: {len(payload)} bytes, at most {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(payload)) + payload


def encode_pieces(frame: msgspec.Struct) -> list[bytes | bytearray]:
    """`encode` in pieces to be sent one after another, each Blob among them as it is: copying 40 MB into a frame holds
    up everything else in the process for 50 ms. Raises Unsendable."""
    try:
        return [encode(frame)]
    except Unsendable as error:
        if not isinstance(error.__cause__, TypeError):
            raise
    return encode_around_blobs(frame)


def encode_around_blobs(frame: msgspec.Struct) -> list[bytes | bytearray]:
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


def decode(payload: bytes | memoryview) -> Frame:
    """The inverse of `encode` for one frame, without its length. Raises WrongFrame."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
        raise WrongFrame(f"not a frame: {error}") from error


Decode = Callable[[bytes | memoryview], Any]
"""Makes a frame of its bytes. Raises WrongFrame."""


def hear_nothing(_: object) -> None:
    """What a connection that has ended hands over to: what ends at the same time is then gone without a collection."""


class FrameConnection(asyncio.Protocol):
    """One end of a connection: hands over frames as they arrive, and sends those of one turn of the loop together.

    Not on asyncio's streams: they take a task, and three futures and coroutines for each frame.
    """

    def __init__(
        self,
        take: Callable[[Any], None],
        ended: Callable[[BrokenStream | None], None],
        *,
        max_bytes: int = MAX_FRAME_BYTES,
        turn: asyncio.Lock | None = None,
        decode: Decode = decode,
    ) -> None:
        """`take` gets each frame; what it raises ends the connection. `ended` is called once, when no frame comes any
        more, with what the peer did wrong, if it did. `max_bytes`: of the largest frame that is read; may be changed.
        `turn`: held while a large frame is read, which then has to be there within LARGE_FRAME_S. `decode`: makes
        frames of other kinds than those between a server and its workers; raises WrongFrame."""
        self.take = take
        self._decode = decode
        self.max_bytes = max_bytes
        self._ended = ended
        self._turn = turn
        self._transport: asyncio.Transport | None = None
        self._gone = asyncio.get_running_loop().create_future()
        self._reads = True
        self._is_held = self._left_meanwhile = False
        self._has_ended = False
        self._rest = bytearray()
        """What has arrived of the next frame, of which `_needed_bytes` are needed before it can be looked at."""
        self._needed_bytes = 0
        self._large: asyncio.Future[None] | None = None
        """Done when the large frame that is being read is here."""
        self._unsent: list[bytes | bytearray] = []

    # --- what asyncio calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if not self._reads:  # it was closed before there was anything to close
            self._transport.abort()

    def data_received(self, data: bytes | bytearray) -> None:
        if not self._reads:
            return
        if self._rest or self._is_held:
            self._rest += data
            if self._is_held or len(self._rest) < self._needed_bytes:
                return
            data, self._rest = self._rest, bytearray()
        try:
            read = self._take_whole(data)
        except BrokenStream as error:
            self._end(error)
        except Exception:
            log.exception("a connection ends, for a frame could not be taken")
            self._end(None)
        else:
            self._rest += data[read:] if read else data

    def eof_received(self) -> None:
        if self._is_held:
            self._left_meanwhile = True
            return
        was_cut = self._reads and self._rest
        self._end(EndedInFrame("connection closed inside a frame") if was_cut else None)

    def connection_lost(self, error: Exception | None) -> None:
        self.eof_received()
        if not self._gone.done():
            self._gone.set_result(None)

    # --- reading ---

    def hold(self) -> None:
        """Hands over nothing more, not even an end, until `go_on`."""
        self._is_held = True

    def go_on(self, take: Callable[[Any], None]) -> None:
        """Hands over to `take` what has come meanwhile, and what comes from now on."""
        self.take, self._is_held = take, False
        data, self._rest = self._rest, bytearray()
        self.data_received(data)
        if self._left_meanwhile:
            self.eof_received()

    def _take_whole(self, data: bytes | bytearray) -> int:
        """Hands over the frames that are whole; how many bytes they took. Raises BrokenStream, and what `take` does."""
        read, end = 0, len(data)
        while end - read >= _LENGTH.size and self._reads and not self._is_held:
            (length,) = _LENGTH.unpack_from(data, read)
            if length > self.max_bytes:
                raise BrokenStream(f"frame of {length} bytes; at most {self.max_bytes}")
            begin = read + _LENGTH.size
            if end - begin < length:
                self._needed_bytes = _LENGTH.size + length
                if length > LARGE_FRAME_BYTES and self._turn is not None and self._large is None:
                    self._begin_large(length, self._turn)
                return read
            read = begin + length
            self.take(self._decode(memoryview(data)[begin:read]))
            if self._large is not None:
                self._end_large()
        self._needed_bytes = _LENGTH.size
        return read

    def _begin_large(self, length: int, turn: asyncio.Lock) -> None:
        """Reads no further before it is this connection's turn."""
        self._large = asyncio.get_running_loop().create_future()
        self._reading = asyncio.create_task(self._read_large(self._large, length, turn), name="large frame")
        if self._transport is not None:
            self._transport.pause_reading()

    async def _read_large(self, here: asyncio.Future[None], length: int, turn: asyncio.Lock) -> None:
        async with turn:
            if self._transport is not None and not self._transport.is_closing():
                self._transport.resume_reading()
            if not (await asyncio.wait({here}, timeout=LARGE_FRAME_S))[0]:
                self._end(BrokenStream(f"a frame of {length} bytes was not there within {LARGE_FRAME_S:.0f} s"))

    def _end_large(self) -> None:
        if self._large is not None and not self._large.done():
            self._large.set_result(None)
        self._large = None

    def _end(self, fault: BrokenStream | None) -> None:
        self._reads = False
        if not self._has_ended:
            self._has_ended = True
            self._end_large()
            ended = self._ended
            self.take = self._ended = hear_nothing  # who is told of frames holds this connection, too
            ended(fault)

    # --- writing ---

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport is None or self._transport.is_closing()

    def put(self, frame: msgspec.Struct) -> bool:
        """Has a frame leave with the next `flush`; whether it is the first that waits for it. Raises Unsendable."""
        pieces, is_first = encode_pieces(frame), not self._unsent
        self._unsent += pieces
        return is_first

    def flush(self) -> None:
        """Sends what was put, all at once; nothing where the connection is closing."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            if self._transport is not None and not self._transport.is_closing():
                self._transport.writelines(unsent)

    def write_eof(self) -> None:
        """Says that nothing more will be sent."""
        if self._transport is not None:
            self._transport.write_eof()

    def close(self) -> None:
        """Closes the connection when what was flushed has left; takes no frame any more. Idempotent."""
        self._reads = False
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Breaks the connection; what was not sent yet is lost."""
        self._reads = False
        if self._transport is not None:
            self._transport.abort()

    async def wait_gone(self) -> None:
        """Returns when the connection is gone."""
        await asyncio.shield(self._gone)
