"""The frame server of a replica, talked to over a real socket."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from modelyard import wire
from modelyard.protocol import (
    Cancel,
    Chunk,
    Configure,
    Done,
    Failed,
    Failure,
    Frame,
    Hello,
    Loading,
    Outcome,
    Ping,
    Pong,
    Request,
    StatusUpdate,
    Work,
    WorkUpdate,
)
from modelyard.tasks.base import Task
from modelyard.wire import encode
from modelyard.worker import server
from modelyard.worker.schedulers.batches import Batcher
from modelyard.worker.server import WorkerServer
from tests.engine.echo import ECHO, EchoModel
from tests.engine.harness import eventually
from tests.frames import read_frame

SECRET = "open sesame"
DEADLINE_S = 200.0


class Peer:
    """A connection that says exactly what a test wants."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, frame: Frame) -> Self:
        self.writer.write(encode(frame))
        return self

    def request(self, request_id: int, text: Any, *, stream: bool = False, **params: Any) -> Self:
        return self.send(Request(request_id, {"text": text}, params, stream))

    async def next(self) -> Frame | None:
        """The next frame, but for what tells of work, which may come at any time."""
        while isinstance(frame := await self.next_of_all(), WorkUpdate):
            pass
        return frame

    async def next_of_all(self) -> Frame | None:
        async with asyncio.timeout(DEADLINE_S):
            return await read_frame(self.reader)

    async def close(self) -> None:
        if not self.writer.is_closing():
            self.writer.close()
            await self.writer.wait_closed()


def framed(payload: Any) -> bytes:
    """What a peer sends that does not keep to the protocol."""
    data = msgspec.msgpack.encode(payload)
    return len(data).to_bytes(4, "big") + data


class Served:
    """A listening WorkerServer with an echoing model behind it."""

    def __init__(self, path: Path, task: Task, **options: Any) -> None:
        self.settings: list[Configure] = []
        self.answers = 0
        self.path = path
        self.gate = threading.Event()
        self.gate.set()
        self.model = EchoModel(self.gate)
        self.batcher = Batcher(task, self.model)
        self.thread = threading.Thread(target=self.batcher.run)
        self.server = WorkerServer(SECRET, self.settings.append, on_answer=self._count, **options)
        self._peers: list[Peer] = []

    def _count(self) -> None:
        self.answers += 1

    async def connect(self) -> Peer:
        self._peers.append(Peer(*await asyncio.open_unix_connection(self.path)))
        return self._peers[-1]

    async def greeted(self) -> Peer:
        """A peer that knows the secret and has been told the state."""
        peer = (await self.connect()).send(Hello(SECRET))
        hello, status = await peer.next(), await peer.next()
        assert hello == Hello()
        assert isinstance(status, StatusUpdate)
        return peer

    def ready(self) -> None:
        self.thread.start()
        self.server.accept_calls(self.batcher)

    async def close(self) -> None:
        self.model.abandoned.set()
        self.batcher.close()
        await asyncio.gather(self.server.close(), *(peer.close() for peer in self._peers))
        if self.thread.ident is not None:
            await asyncio.to_thread(self.thread.join, DEADLINE_S)


@asynccontextmanager
async def serving(tmp_path: Path, *, ready: bool = True, task: Task = ECHO, **options: Any) -> AsyncIterator[Served]:
    served = Served(tmp_path / "s.sock", task, **options)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(served.path))
    await served.server.listen(listener)
    if ready:
        served.ready()
    try:
        yield served
    finally:
        await served.close()


# --- greeting ---


async def test_the_first_frame_must_carry_the_secret(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        for body in ("wrong", "", None, 7, SECRET + "x", [SECRET]):
            peer = (await served.connect()).send(Hello(body)).request(1, "hello")
            refusal = await peer.next()
            assert isinstance(refusal, Failure)
            assert (refusal.id, refusal.code) == (0, "unauthorized")
            assert await peer.next() is None
        assert served.model.seen == []


async def test_nothing_is_done_before_the_greeting(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = (await served.connect()).request(1, "hello")
        refusal = await peer.next()
        assert isinstance(refusal, Failure)
        assert await peer.next() is None
        assert served.model.seen == []


async def test_a_peer_that_says_nothing_is_dropped(tmp_path: Path) -> None:
    async with serving(tmp_path, hello_deadline_s=0.05) as served:
        peer = await served.connect()
        refusal = await peer.next()
        assert isinstance(refusal, Failure)
        assert await peer.next() is None


async def test_a_stranger_cannot_send_much(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.connect()
        peer.writer.write((wire.MAX_GREETING_BYTES + 1).to_bytes(4, "big"))
        assert await peer.next() is None


async def test_a_stranger_is_told_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, ready=False) as served:
        peer = await served.connect()
        await eventually(lambda: served.server._connections)
        served.server.report(Loading())
        peer.send(Hello(SECRET))
        assert [await peer.next(), await peer.next()] == [
            Hello(),
            StatusUpdate(Loading()),
        ]


# --- times ---


async def test_the_times_of_a_request_are_told_to_who_asks_for_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        peer.send(Request(1, {"text": "hello"}, {}, timed=True)).request(2, "hello")
        done = {frame.id: frame for frame in [await peer.next(), await peer.next()] if isinstance(frame, Done)}
        times = done[1].outcome.times
        assert times is not None
        assert times.batch in (1, 2)
        assert times.waited_us >= 0
        assert times.worked_us >= 0
        assert done[2].outcome.times is None


def test_a_request_whose_times_nobody_wants_is_hardly_longer(tmp_path: Path) -> None:
    frame = Request(1, {"text": "hello"}, {})
    assert (
        len(msgspec.msgpack.encode(frame)) == len(msgspec.msgpack.encode([2, 1, {"text": "hello"}, {}, False, ""])) + 1
    )
    assert len(msgspec.msgpack.encode(Outcome("hello"))) == len(msgspec.msgpack.encode({"output": "hello"}))


# --- state ---


async def test_everyone_is_told_the_state(tmp_path: Path) -> None:
    async with serving(tmp_path, ready=False) as served:
        early = await served.greeted()
        served.server.report(Loading())
        assert await early.next() == StatusUpdate(Loading())
        late = (await served.connect()).send(Hello(SECRET))
        assert [await late.next(), await late.next()] == [
            Hello(),
            StatusUpdate(Loading()),
        ]
        await served.server.wait_greeted(0.0)


async def test_a_request_before_it_is_ready_counts_as_not_begun(tmp_path: Path) -> None:
    async with serving(tmp_path, ready=False) as served:
        answer = await (await served.greeted()).request(1, "hello").next()
        assert isinstance(answer, Failure)
        assert (answer.id, answer.code) == (1, "replica_lost")


async def test_pings_and_settings(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        peer.send(Configure(3)).send(Ping(17))
        assert await peer.next() == Pong(17)
        assert served.settings == [Configure(3)]


async def test_what_was_done_is_told_before_a_pong_and_where_it_is_news(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        assert await peer.send(Ping(1)).next_of_all() == Pong(1)
        assert await peer.request(2, "hello").next() == Done(2, Outcome("hello"))
        served.server.accept_calls(served.batcher)  # as with each new status
        peer.send(Ping(3)).send(Ping(4))
        frames = [await peer.next_of_all() for _ in range(3)]
        assert frames == [WorkUpdate(Work((1, *[0] * 8), 1, served.batcher.max_batch)), Pong(3), Pong(4)]


async def test_what_was_done_is_told_a_while_after_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "TELL_WORK_S", 0.001)
    async with serving(tmp_path) as served:
        peer = (await served.greeted()).request(1, "hello")
        assert await peer.next_of_all() == Done(1, Outcome("hello"))
        told = await peer.next_of_all()
        assert isinstance(told, WorkUpdate)
        assert told.work.calls == 1


# --- requests ---


async def test_answers_and_streams(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        assert await peer.request(1, "hello").next() == Done(1, Outcome("hello"))
        peer.request(2, "a stream of words", stream=True)
        frames = [await peer.next() for _ in range(5)]
        assert frames[:4] == [Chunk(2, text) for text in ("a", " stream", " of", " words")]
        assert frames[4] == Done(2, Outcome("a stream of words"))
        assert served.answers == 2


async def test_steps_of_a_call_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def step(model: Any, calls: Any) -> list[str]:
        for call in calls:
            call.progress(1, 2)
            call.progress(2, 2)
        return [""] * len(calls)

    caplog.set_level("INFO")
    async with serving(tmp_path, task=replace(ECHO, run=step)) as served:
        await (await served.greeted()).request(7, "hello").next()
    said = [record.getMessage() for record in caplog.records]
    assert [line for line in said if "step" in line] == [
        f"{ECHO.id} (request 7): step 1/2",
        f"{ECHO.id} (request 7): step 2/2",
    ]


async def test_a_request_that_is_wrong_names_the_field(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        answer = await (await served.greeted()).request(1, 5).next()
        assert isinstance(answer, Failure)
        assert (answer.code, answer.data["field"]) == ("invalid_request", "text")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\x00\x00\x01\xc1",
        b"\xff\xff\xff\xff",
        framed([2, 1]),
        framed([2, 1, {}]),
        framed([2, 1, [], {}, False]),
        framed([2, 1, {}, None, False]),
        framed([2, 1, {}, {}, "yes"]),
        framed([9, "threads"]),
        framed([9, 0]),
        encode(Done(1, Outcome(None))),
        encode(Hello(SECRET)),
    ],
)
async def test_a_bad_frame_drops_that_connection_only(tmp_path: Path, sent: bytes) -> None:
    async with serving(tmp_path) as served:
        other, peer = await served.greeted(), await served.greeted()
        peer.writer.write(sent)
        assert await peer.next() is None
        assert await other.request(1, "hello").next() == Done(1, Outcome("hello"))


async def test_an_id_that_is_in_use_drops_the_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        peer.request(1, "hold").request(1, "hold")
        assert await peer.next() is None


async def test_ids_belong_to_connections(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        one, two = await served.greeted(), await served.greeted()
        one.request(1, "from one")
        two.request(1, "from two")
        assert await one.next() == Done(1, Outcome("from one"))
        assert await two.next() == Done(1, Outcome("from two"))


async def test_cancelling_ends_a_running_call(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        peer.request(1, "hold on", stream=True).request(2, "next")
        assert await peer.next() == Chunk(1, "hold")
        peer.send(Cancel(1)).send(Cancel(99))
        ended = await peer.next()
        assert isinstance(ended, Failure)
        assert ended.id == 1
        assert await peer.next() == Done(2, Outcome("next"))


async def test_leaving_cancels_what_runs_and_what_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        other, peer = await served.greeted(), await served.greeted()
        peer.request(1, "hold on", stream=True)
        await peer.next()
        peer.request(2, "never begun").send(Ping(3))
        await peer.next()  # it has been queued behind the first
        await peer.close()
        assert await other.request(1, "hello").next() == Done(1, Outcome("hello"))
        assert served.model.cancelled == ["hold on"]
        assert "never begun" not in served.model.seen


@pytest.mark.parametrize("output", [object(), 1 << 70, "x" * 2000])
async def test_an_answer_that_cannot_be_sent_is_an_error(
    tmp_path: Path, output: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = replace(ECHO, run=lambda model, calls: [output] * len(calls))
    async with serving(tmp_path, task=task) as served:
        peer = await served.greeted()
        monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 1000)
        answer = await peer.request(1, "hello").next()
        assert isinstance(answer, Failure)
        assert (answer.id, answer.code) == (1, "inference_failed")
        assert "sent" in answer.message


async def test_an_error_that_cannot_be_sent_whole_is_sent_without_its_data(tmp_path: Path) -> None:
    from modelyard.errors import InferenceFailed

    task = replace(ECHO, run=lambda model, calls: [InferenceFailed("too bad", culprit=object())] * len(calls))
    async with serving(tmp_path, task=task) as served:
        answer = await (await served.greeted()).request(1, "hello").next()
        assert isinstance(answer, Failure)
        assert answer.message == "too bad"


async def test_a_task_that_cannot_measure_a_call_fails_that_call(tmp_path: Path) -> None:
    task = replace(ECHO, length=lambda call: 1 // len(call.inputs.text))
    async with serving(tmp_path, task=task) as served:
        peer = await served.greeted()
        answer = await peer.request(1, "").next()
        assert isinstance(answer, Failure)
        assert answer.code == "inference_failed"
        assert await peer.request(1, "again").next() == Done(1, Outcome("again"))


# --- the end ---


async def test_closing_sends_what_was_said_and_fails_what_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        peer.request(1, "hold", stream=True)
        assert await peer.next() == Chunk(1, "hold")
        peer.request(2, "waiting").send(Ping(3))
        assert await peer.next() == Pong(3)
        served.batcher.close()
        served.server.report(Failed("it is over", permanent=False))
        closing = asyncio.create_task(served.server.close())
        frames = [await peer.next(), await peer.next()]
        assert StatusUpdate(Failed("it is over", permanent=False)) in frames
        assert [frame.code for frame in frames if isinstance(frame, Failure)] == ["replica_lost"]
        assert await peer.next() is None
        assert not closing.done(), (
            "what a peer writes meanwhile must not break the connection: it would read no further"
        )
        await peer.close()
        await closing


async def test_closing_waits_for_no_peer_that_does_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "LAST_READ_S", 0.01)
    async with serving(tmp_path) as served:
        await served.greeted()
        await served.server.close()


async def test_aborting_breaks_connections_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        peer = await served.greeted()
        served.server.abort()
        assert await peer.next() is None
        with pytest.raises(ConnectionRefusedError):
            await served.connect()
        await eventually(lambda: not served.server._connections)
