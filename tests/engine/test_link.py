"""One connection to a worker, also to one that does not keep to the protocol."""

from __future__ import annotations

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.engine.link import MOST_STRAYS, Link
from modelyard.errors import InferenceFailed, ReplicaLost
from modelyard.protocol import (
    PIECE_WEIGHT,
    WINDOW,
    CacheUse,
    Cancel,
    Chunk,
    Credit,
    Done,
    Failure,
    Frame,
    Hello,
    Logged,
    Outcome,
    Ping,
    Pong,
    Ready,
    Request,
    Starting,
    Status,
    StatusUpdate,
    Usage,
    Work,
    WorkUpdate,
)
from modelyard.telemetry.log_lines import LogLine, RequestLabels, current_request
from modelyard.wire import LARGE_FRAME_BYTES, MAX_ANSWER_BYTES, encode
from tests.engine.harness import eventually
from tests.frames import read_frame
from tests.telemetry.heard import hearing

DEADLINE_S = 200.0
LINE = Logged(0, 10**18, logging.WARNING, "modelyard.worker", "hello")


class Worker:
    """The other end of a link: says exactly what a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def read(self) -> Frame | None:
        async with asyncio.timeout(DEADLINE_S):
            return await read_frame(self.reader)

    def send(self, *frames: Frame) -> None:
        self.writer.write(b"".join(map(encode, frames)))

    def send_wrong(self, payload: Any) -> None:
        data = msgspec.msgpack.encode(payload)
        self.writer.write(len(data).to_bytes(4, "big") + data)


@asynccontextmanager
async def linked(
    tmp_path: Path,
    on_status: Callable[[Status], None] = lambda status: None,
    turn: asyncio.Lock | None = None,
    replica_id: str = "",
    wants_lines: bool = False,
) -> AsyncIterator[tuple[Link, Worker]]:
    workers: asyncio.Queue[Worker] = asyncio.Queue()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker = Worker(reader, writer)
        assert await worker.read() == Hello("secret", wants_lines)
        worker.send(Hello())
        workers.put_nowait(worker)

    server = await asyncio.start_unix_server(greet, str(tmp_path / "s.sock"))
    link = await Link.connect(f"unix:{tmp_path / 's.sock'}", "secret", on_status, turn=turn, replica_id=replica_id)
    worker = await workers.get()
    try:
        yield link, worker
    finally:
        await link.close()
        worker.writer.close()
        server.close()


async def test_pieces_come_in_order_then_the_outcome(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):
        pieces: list[str] = []

        async def note(piece: str) -> None:
            pieces.append(piece)

        exchange = link.request({"text": "a"}, {}, stream=True)
        assert await worker.read() == Request(exchange.id, {"text": "a"}, {}, True)
        outcome = Outcome("one two", Usage(prompt_tokens=1, new_tokens=2))
        worker.send(Chunk(exchange.id, "one"), Chunk(exchange.id, " two"), Done(exchange.id, outcome))
        assert await exchange.run(note) == outcome
        assert pieces == ["one", " two"]
        assert exchange.finished


@pytest.mark.parametrize("waits", [True, False])
async def test_who_takes_a_requests_place_goes_before_its_answer(tmp_path: Path, waits: bool) -> None:
    order: list[str] = []

    def free(*, answered: bool = False) -> bool:
        assert answered
        order.append("free")
        if waits:
            asyncio.get_running_loop().call_soon(order.append, "next")
        return waits

    async with linked(tmp_path) as (link, worker):
        exchange = link.request({}, {}, stream=True)
        exchange.on_finished = free
        running = asyncio.create_task(exchange.run())
        running.add_done_callback(lambda _: order.append("answer"))
        worker.send(Chunk(exchange.id, "one"), Done(exchange.id, Outcome("one")))
        assert (await running).output == "one"
    assert order == (["free", "next", "answer"] if waits else ["free", "answer"])


async def test_an_error_is_raised_as_what_it_is(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):
        exchange = link.request({}, {}, stream=False)
        worker.send(Failure.of(exchange.id, InferenceFailed("too bad", out_of_memory=True)))
        with pytest.raises(InferenceFailed, match="too bad") as raised:
            await exchange.run()
        assert raised.value.data["out_of_memory"] is True
        with pytest.raises(ReplicaLost):
            await anext(exchange)


async def test_an_error_of_whoever_takes_the_pieces_cancels_the_request(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):

        async def refuse(piece: str) -> None:
            raise ValueError(piece)

        exchange = link.request({}, {}, stream=True)
        await worker.read()
        worker.send(Chunk(exchange.id, "one"))
        with pytest.raises(ValueError, match="one"):
            await exchange.run(refuse)
        assert await worker.read() == Cancel(exchange.id)


async def test_cancelling_a_run_cancels_the_request(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):
        exchange = link.request({}, {}, stream=False)
        await worker.read()
        running = asyncio.create_task(exchange.run())
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await worker.read() == Cancel(exchange.id)
        worker.send(Done(exchange.id, Outcome("too late")))
        pinging = asyncio.create_task(link.ping(DEADLINE_S))
        ping = await worker.read()
        assert isinstance(ping, Ping)
        worker.send(Pong(ping.id))
        assert await pinging, "the late answer was taken for a broken link"


@pytest.mark.parametrize(
    "wrong",
    [
        [1, {"phase": "ready", "slots": "many"}],
        [1, {"phase": "asleep"}],
        [3, 1, {"not": "text"}],
        [4, 1, {"output": 1, "usage": {"new_tokens": -5}}],
        [5, 1, "inference_failed"],
        [2, 1, {}, {}, False],
        [9, 4],
        {"no": "frame"},
    ],
)
async def test_a_worker_that_breaks_the_protocol_is_lost(tmp_path: Path, wrong: Any) -> None:
    statuses: list[Status] = []
    async with linked(tmp_path, statuses.append) as (link, worker):
        exchange = link.request({}, {}, stream=True)
        worker.send_wrong(wrong)
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(ReplicaLost):
                await exchange.run()
        assert link.closed
        assert statuses == []


async def test_every_status_is_told(tmp_path: Path) -> None:
    statuses: list[Status] = []
    told = asyncio.Event()

    def note(status: Status) -> None:
        statuses.append(status)
        if len(statuses) == 2:
            told.set()

    async with linked(tmp_path, note) as (_, worker):
        worker.send(StatusUpdate(Starting()), StatusUpdate(Ready(4, 10, 20)))
        async with asyncio.timeout(DEADLINE_S):
            await told.wait()
    assert statuses == [Starting(), Ready(4, 10, 20)]


async def test_nothing_is_told_before_whoever_connects_has_the_link(tmp_path: Path) -> None:
    told: list[tuple[Status, bool]] = []
    link: Link | None = None

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode(Hello()) + encode(StatusUpdate(Ready(4))))
        writer.close()

    server = await asyncio.start_unix_server(greet, str(tmp_path / "s.sock"))
    link = await Link.connect(
        f"unix:{tmp_path / 's.sock'}", "secret", lambda status: told.append((status, link is not None))
    )
    assert await link.wait_closed(DEADLINE_S)
    assert told == [(Ready(4), True)]
    await link.close()
    server.close()


async def test_a_client_that_does_not_read_holds_back_its_own_pieces_only(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):
        slow, quick = link.request({}, {}, stream=True), link.request({}, {}, stream=True)
        for _ in range(2):
            await worker.read()
        piece = "x" * (8192 - PIECE_WEIGHT)
        worker.send(*[Chunk(slow.id, piece)] * (WINDOW // 8192), Chunk(quick.id, "one"), Done(quick.id, Outcome("one")))
        assert [piece async for piece in quick] == ["one"]
        for _ in range(WINDOW // 8192 // 2):
            assert await anext(slow) == piece
        assert await worker.read() == Credit(slow.id, WINDOW // 2)
        worker.send(*[Chunk(slow.id, piece)] * (WINDOW // 8192 // 2), Done(slow.id, Outcome("all")))
        assert len([piece async for piece in slow]) == WINDOW // 8192
        assert slow.outcome == Outcome("all")


@pytest.mark.parametrize("text", ["", "x" * 1000, "x" * WINDOW])
async def test_a_worker_that_ignores_the_window_is_cut_off(tmp_path: Path, text: str) -> None:
    async with linked(tmp_path) as (link, worker):
        exchange = link.request({}, {}, stream=True)
        await worker.read()
        worker.send(*[Chunk(exchange.id, text)] * (WINDOW // (len(text) + PIECE_WEIGHT) + 1))
        assert await link.wait_closed(DEADLINE_S)
        assert "window" in (link.fault or "")
        with pytest.raises(ReplicaLost):
            async for _ in exchange:
                pass


@pytest.mark.parametrize(
    "frame", [Chunk(99, ""), Done(99, Outcome(1)), Pong(99), StatusUpdate(Ready(1)), LINE], ids=str
)
async def test_a_worker_that_talks_without_end_is_cut_off(tmp_path: Path, frame: Frame) -> None:
    async with linked(tmp_path) as (link, worker):
        worker.send(*[frame] * (MOST_STRAYS + 2))
        assert await link.wait_closed(DEADLINE_S)
        assert link.fault


async def test_pieces_of_a_request_that_was_given_up_are_no_fault(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):
        for _ in range(3):
            exchange = link.request({}, {}, stream=True)
            await worker.read()
            exchange.cancel()
            assert await worker.read() == Cancel(exchange.id)
            worker.send(*[Chunk(exchange.id, "")] * (WINDOW // PIECE_WEIGHT), Done(exchange.id, Outcome("")))
        last = link.request({}, {}, stream=False)
        worker.send(Done(last.id, Outcome("here")))
        assert await last.run() == Outcome("here")


@pytest.mark.parametrize("slots", [0, -1, 2**40])
async def test_a_worker_that_says_what_cannot_be_is_cut_off(tmp_path: Path, slots: int) -> None:
    async with linked(tmp_path) as (link, worker):
        worker.send_wrong([1, {"phase": "ready", "slots": slots}])
        assert await link.wait_closed(DEADLINE_S)


async def test_a_frame_larger_than_any_answer_is_not_read(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):
        worker.writer.write((MAX_ANSWER_BYTES + 1).to_bytes(4, "big"))
        assert await link.wait_closed(DEADLINE_S)
        assert "at most" in (link.fault or "")


async def test_large_frames_are_read_one_at_a_time_and_small_ones_meanwhile(tmp_path: Path) -> None:
    turn = asyncio.Lock()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    async with linked(tmp_path / "a", turn=turn) as (one, first), linked(tmp_path / "b", turn=turn) as (two, second):
        slow, other, small = (link.request({}, {}, stream=False) for link in (one, two, two))
        large = encode(Done(slow.id, Outcome("x" * (LARGE_FRAME_BYTES + 1))))
        first.writer.write(large[:-1])
        await eventually(turn.locked)
        second.send(Done(small.id, Outcome("small")))
        assert await small.run() == Outcome("small")
        second.send(Done(other.id, Outcome("y" * (LARGE_FRAME_BYTES + 1))))
        answer = asyncio.create_task(other.run())
        assert not (await asyncio.wait({answer}, timeout=0.05))[0]
        first.writer.write(large[-1:])
        assert (await slow.run()).output.startswith("x")
        assert (await answer).output.startswith("y")


async def test_what_a_worker_has_done_is_kept_as_it_told_it_last(tmp_path: Path) -> None:
    async with linked(tmp_path) as (link, worker):
        assert link.work == Work()
        worker.send(WorkUpdate(Work((1,), 1, 4)), WorkUpdate(Work((1, 1), 3, 8, CacheUse(30, 0, 100))))
        await eventually(lambda: link.work == Work((1, 1), 3, 8, CacheUse(30, 0, 100)))


@pytest.mark.parametrize("wrong", [[[0] * 99, 0, 0, None], [[-1], 0, 0, None], [[1], 1, 1, [1, 2]]])
async def test_work_that_cannot_be_ends_the_connection(tmp_path: Path, wrong: Any) -> None:
    async with linked(tmp_path) as (link, worker):
        worker.send_wrong([14, wrong])
        assert await link.wait_closed(DEADLINE_S)
        assert link.work == Work()


# --- lines of its log ---


async def test_lines_of_a_replica_are_passed_on_with_the_request_that_they_are_about(tmp_path: Path) -> None:
    labels = RequestLabels("req_1", trace_id="a" * 32, span_id="b" * 16)
    with hearing() as lines:
        async with linked(tmp_path, replica_id="in_1", wants_lines=True) as (link, worker):
            before = current_request.set(labels)
            exchange = link.request({}, {}, stream=False)
            current_request.reset(before)
            failed = msgspec.structs.replace(LINE, id=exchange.id, level=logging.ERROR, exception="Traceback")
            worker.send(LINE, failed, Done(exchange.id, Outcome(1)))
            await exchange.run()
    fields = {"replica_id": "in_1", "request_id": "req_1", "exception": "Traceback"}
    assert lines == [
        LogLine(10**18, "warning", LINE.logger, "hello", {"replica_id": "in_1"}),
        LogLine(10**18, "error", LINE.logger, "hello", fields, labels.trace_id, labels.span_id),
    ]


async def test_no_lines_are_wanted_where_nobody_hears_them_or_there_is_no_replica(tmp_path: Path) -> None:
    async with linked(tmp_path, replica_id="in_1", wants_lines=False):
        pass
    with hearing():
        async with linked(tmp_path, wants_lines=False):
            pass


class Owner:
    """Who has a link, and is told what comes of it."""

    link: Link | None = None

    def note(self, status: Status) -> None:
        """It is told."""


async def test_a_link_that_has_ended_is_gone_without_a_collection(tmp_path: Path) -> None:
    gc.disable()
    try:
        owner = Owner()
        async with linked(tmp_path, owner.note) as (link, worker):
            owner.link = link
            exchange = link.request({"text": "a"}, {}, stream=False)
            await worker.read()
            worker.send(Done(exchange.id, Outcome("b", Usage())))
            await exchange.run()
            ended = weakref.ref(link)
        del owner, link, exchange
        await eventually(lambda: ended() is None)
    finally:
        gc.enable()
