"""Frames survive the way, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
import socket
import struct

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard import wire
from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.protocol import (
    AdapterPiece,
    Cancel,
    Chunk,
    Configure,
    Done,
    Failed,
    Failure,
    FinishReason,
    Frame,
    Hello,
    LoadAdapter,
    Loading,
    Logged,
    Outcome,
    Ping,
    Pong,
    Ready,
    Request,
    Starting,
    StatusUpdate,
    UnloadAdapter,
    Usage,
)
from modelyard.wire import MAX_FRAME_BYTES, BrokenStream, FrameConnection, Unsendable, decode, encode

integers = st.integers(-(2**63), 2**64 - 1)
scalars = st.none() | st.booleans() | integers | st.floats(allow_nan=False) | st.text() | st.binary()
bodies = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
ids = st.integers(0, 2**63 - 1)
counts = st.none() | ids
objects = st.dictionaries(st.text(), bodies, max_size=4)
usages = st.builds(Usage, counts, counts, st.none() | st.sampled_from(FinishReason))
statuses = (
    st.builds(Starting)
    | st.builds(Loading)
    | st.builds(Ready, st.integers(1, 64), counts, counts, counts)
    | st.builds(Failed, st.text(), st.booleans())
)
frames = (
    st.builds(Hello, st.text(), st.booleans())
    | st.builds(StatusUpdate, statuses)
    | st.builds(Request, ids, objects, objects, st.booleans(), st.text())
    | st.builds(Chunk, ids, st.text())
    | st.builds(Done, ids, st.builds(Outcome, bodies, usages))
    | st.builds(Failure, ids, st.text(), st.text(), objects)
    | st.builds(Cancel, ids)
    | st.builds(Ping, ids)
    | st.builds(Pong, ids)
    | st.builds(Configure, st.integers(1, 2**63 - 1))
    | st.builds(AdapterPiece, st.text(), st.text(), st.binary())
    | st.builds(LoadAdapter, ids, st.text())
    | st.builds(UnloadAdapter, st.text())
    | st.builds(Logged, ids, ids, st.integers(0, 50), st.text(), st.text(), st.text())
)


places = st.integers(0, 2**16)
"""Places in a stream, once taken modulo its length."""


class Received:
    """What a connection hands over."""

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self.frames: list[Frame] = []
        self.ends: list[BrokenStream | None] = []
        self.connection = FrameConnection(self.frames.append, self.ends.append, max_bytes=max_bytes)


async def read_all(data: bytes, max_bytes: int = MAX_FRAME_BYTES) -> list[Frame]:
    """Every frame of a connection that carried `data` and was then closed by the peer. Raises what ended it."""
    received = Received(max_bytes)
    received.connection.data_received(data)
    received.connection.connection_lost(None)
    (fault,) = received.ends
    if fault is not None:
        raise fault
    return received.frames


@given(frames)
@example(Done(1, Outcome("\N{PILE OF POO}" * 3)))
def test_a_frame_survives_the_way(frame: Frame) -> None:
    assert decode(encode(frame)[4:]) == frame
    assert type(decode(encode(frame)[4:])) is type(frame)


@given(st.lists(frames, max_size=5), st.lists(places, max_size=6))
async def test_frames_arrive_in_order_however_they_are_cut(sent: list[Frame], places: list[int]) -> None:
    stream = b"".join(map(encode, sent))
    cuts = sorted(place % (len(stream) + 1) for place in places)
    received = Received()
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received.connection.data_received(stream[start:end])
    received.connection.connection_lost(None)
    assert received.frames == sent
    assert received.ends == [None]


@given(frames, places)
async def test_a_stream_that_ends_inside_a_frame_is_broken(frame: Frame, place: int) -> None:
    stream = encode(frame)
    cut = 1 + place % (len(stream) - 1)
    with pytest.raises(BrokenStream, match="closed inside a frame"):
        await read_all(stream[:cut])


@given(st.binary(max_size=200))
def test_noise_is_no_frame_or_one_that_can_be_sent_again(noise: bytes) -> None:
    try:
        frame = decode(noise)
    except BrokenStream:
        return
    assert decode(encode(frame)[4:]) == frame


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode("a text"),
        msgspec.msgpack.encode([2, 1]),
        msgspec.msgpack.encode([2, 1, None, None]),
        msgspec.msgpack.encode([99, 1, None]),
        msgspec.msgpack.encode([True, 1, "a"]),
        msgspec.msgpack.encode([3, "1", "a"]),
        msgspec.msgpack.encode([3, [], "a"]),
        msgspec.msgpack.encode([3, 1, None]),
        msgspec.msgpack.encode([3, 1, "a"]) + b"\x00",
        msgspec.msgpack.encode([1, {"phase": "asleep"}]),
        msgspec.msgpack.encode([1, {"phase": "ready", "slots": 0}]),
        msgspec.msgpack.encode([1, {"phase": "ready", "slots": 1, "memory_bytes": -1}]),
        msgspec.msgpack.encode([4, 1, {}]),
        msgspec.msgpack.encode([4, 1, {"output": 1, "usage": {"new_tokens": -1}}]),
        msgspec.msgpack.encode([4, 1, {"output": 1, "usage": {"finish_reason": "tired"}}]),
        msgspec.msgpack.encode([5, 1, "internal", "a", ["data"]]),
        b"\x93\x04\x01\x81\xa6output" + b"\x91" * 100_000 + b"\xc0",  # nested deeper than any stack
    ],
)
def test_what_is_no_frame(payload: bytes) -> None:
    with pytest.raises(BrokenStream, match="not a frame"):
        decode(payload)


async def test_a_length_out_of_bounds_is_refused_before_anything_is_read() -> None:
    received = Received()
    received.connection.data_received(struct.pack(">I", wire.MAX_FRAME_BYTES + 1))
    (fault,) = received.ends  # it would wait for more, were the length believed
    assert "at most 268435456" in str(fault)


async def test_nothing_is_handed_over_after_what_could_not_be_taken() -> None:
    taken: list[Frame] = []
    ends: list[BrokenStream | None] = []

    def take(frame: Frame) -> None:
        taken.append(frame)
        raise ValueError(frame)

    connection = FrameConnection(take, ends.append)
    connection.data_received(encode(Ping(1)) + encode(Ping(2)))
    connection.data_received(encode(Ping(3)))
    connection.connection_lost(None)
    assert (taken, ends) == ([Ping(1)], [None])


async def test_what_is_closed_before_it_is_connected_ends_when_it_is() -> None:
    received = Received()
    received.connection.close()
    ours, peers = socket.socketpair()
    with peers:
        peers.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: received.connection, ours)
        await received.connection.wait_gone()
        assert peers.recv(1) == b""
    assert received.ends == [None]


async def test_a_reader_may_ask_for_less() -> None:
    hello = encode(Hello("x" * 100))
    assert await read_all(hello, max_bytes=len(hello) - 4) == [Hello("x" * 100)]
    with pytest.raises(BrokenStream, match="at most 103"):
        await read_all(hello, max_bytes=103)


async def test_what_comes_while_a_connection_is_held_is_handed_over_afterwards() -> None:
    received = Received()
    later: list[Frame] = []
    received.connection.take = lambda frame: received.connection.hold()
    received.connection.data_received(encode(Hello()) + encode(Ping(1)) + encode(Ping(2))[:3])
    received.connection.data_received(encode(Ping(2))[3:])
    received.connection.connection_lost(None)
    assert (later, received.ends) == ([], [])
    received.connection.go_on(later.append)
    assert (later, received.ends) == ([Ping(1), Ping(2)], [None])


def test_a_body_that_is_too_large_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
    assert len(encode(Chunk(1, "x" * 990))) <= 1004
    with pytest.raises(Unsendable, match=r"too large to be sent: 1009 bytes, at most 1000"):
        encode(Chunk(1, "x" * 1000))


@pytest.mark.parametrize("body", [1 << 64, object(), "\ud800"])
def test_a_body_that_msgpack_does_not_know_is_not_sent(body: object) -> None:
    with pytest.raises(Unsendable, match="cannot be sent"):
        encode(Done(1, Outcome(body)))


def test_a_body_nested_deeper_than_any_stack_is_not_sent() -> None:
    body: list[object] = []
    for _ in range(100_000):
        body = [body]
    with pytest.raises(Unsendable, match="cannot be sent"):
        encode(Done(1, Outcome(body)))


async def test_a_closed_connection_is_an_end_only_between_frames() -> None:
    assert await read_all(b"") == []
    with pytest.raises(BrokenStream):
        await read_all(b"\x00\x00")


def test_an_error_survives_the_way_as_what_it_is() -> None:
    sent = InvalidRequest(field="text", got=5, accepted="a string")
    received = Failure.of(3, sent).error()
    assert isinstance(received, InvalidRequest)
    assert (received.message, received.data) == (sent.message, sent.data)


def test_an_error_that_nobody_knows_is_one_all_the_same() -> None:
    received = Failure(3, "no_such_code", "a sentence", {"message": "another", "self": 1}).error()
    assert type(received) is ModelyardError
    assert (received.message, received.data) == ("a sentence", {"message": "another", "self": 1})
