"""Frames that no end of the protocol would send, to both ends of a worker's socket: each goes on, or hangs up."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from modelyard.errors import ModelyardError
from modelyard.protocol import Done
from tests.engine.test_link import linked
from tests.properties import examples
from tests.worker.test_server import Served, serving

DEADLINE_S = 200.0
KINDS = st.integers(0, 16)
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=9) | st.binary()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
near_frames = st.builds(lambda kind, rest: [kind, *rest], KINDS, st.lists(values, max_size=5))


def with_length(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


sent = st.lists(
    st.one_of(
        near_frames.map(msgspec.msgpack.encode).map(with_length),
        values.map(msgspec.msgpack.encode).map(with_length),
        st.binary(max_size=40).map(with_length),
        st.binary(max_size=40),
    ),
    min_size=1,
    max_size=6,
)


@examples(40)
@given(sent)
def test_a_worker_outlives_what_a_peer_sends(pieces: list[bytes]) -> None:
    async def send_all() -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with serving(Path(folder)) as served:
                await send_to(served, pieces)

    asyncio.run(send_all())


async def send_to(served: Served, pieces: list[bytes]) -> None:
    """To one peer that is known and one that is not; then a third is answered as ever."""
    for peer in (await served.connect(), await served.greeted()):
        peer.writer.write(b"".join(pieces))
        peer.writer.write_eof()
    peer = (await served.greeted()).request(1, "hello")
    async with asyncio.timeout(DEADLINE_S):
        while not isinstance(await peer.next(), Done):
            pass


@examples(40)
@given(sent)
def test_a_link_answers_or_ends_whatever_its_worker_sends(pieces: list[bytes]) -> None:
    async def send_all() -> Any:
        with tempfile.TemporaryDirectory() as folder:
            async with linked(Path(folder)) as (link, worker):
                exchange = link.request({"text": "a"}, {}, stream=True)
                worker.writer.write(b"".join(pieces))
                worker.writer.write_eof()
                async with asyncio.timeout(DEADLINE_S):
                    try:
                        return await exchange.run()
                    except ModelyardError as error:
                        return error

    asyncio.run(send_all())
