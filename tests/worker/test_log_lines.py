"""A worker's log as frames: what they hold, how many there are, and which request each is about."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard.protocol import Done, Hello, Logged, StatusUpdate
from modelyard.tasks.base import Call
from modelyard.worker.log_lines import MOST_CHARACTERS, MOST_PER_S, SentLog, current_call, line_of, work_on
from tests.engine.echo import ECHO
from tests.engine.harness import eventually
from tests.worker.test_server import SECRET, Peer, Served, serving

log = logging.getLogger("tests.some-library")


def record(message: str, *args: object, created: float = 1e9) -> logging.LogRecord:
    made = log.makeRecord(log.name, logging.WARNING, "", 0, message, args, None)
    made.created = created
    return made


def test_a_line_has_what_was_logged_and_no_more_of_it_than_anybody_reads() -> None:
    assert line_of(record("a %s", "b")) == Logged(0, 10**18, logging.WARNING, log.name, "a b")
    assert line_of(record("half of \udc00")).message == "half of ?"
    assert len(line_of(record("x" * 10**6)).message) == MOST_CHARACTERS
    failed = record("it failed")
    try:
        _ = {}["x" * 10_000]
    except KeyError as error:
        failed.exc_info = (type(error), error, error.__traceback__)
    assert len(line_of(failed).exception) == MOST_CHARACTERS


def test_of_many_lines_in_a_second_the_first_are_sent() -> None:
    sent: list[Logged] = []
    handler = SentLog(lambda line, call: sent.append(line))
    for number in range(2 * MOST_PER_S):
        handler.handle(record(str(number)))
    handler.handle(record("later", created=1e9 + 1))
    assert [line.message for line in sent] == [*map(str, range(MOST_PER_S)), "later"]


def test_a_line_that_cannot_be_written_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    SentLog(lambda line, call: None).handle(record("%d", "no number"))
    assert "no number" in capsys.readouterr().err


def test_work_is_on_one_call_until_it_ends() -> None:
    def inner() -> object:
        return current_call.get()

    assert work_on("one", lambda: (inner(), work_on("other", inner), inner())) == ("one", "other", "one")
    assert work_on(None, inner) is None
    assert inner() is None


# --- whom a line is sent to ---


def noisy(model: Any, calls: Sequence[Call[Any, Any]]) -> list[str]:
    """Logs, and answers with how many there were."""
    log.warning("at work")
    model.answers.wait()
    return [str(len(calls))] * len(calls)


@contextmanager
def sent_by(served: Served) -> Iterator[None]:
    """What is logged in the block, a server's peers are sent."""
    handler = SentLog(served.server.tell_line)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)


async def listener(served: Served) -> Peer:
    """A peer that wants lines."""
    peer = (await served.connect()).send(Hello(SECRET, wants_lines=True))
    assert (await peer.next(), type(await peer.next())) == (Hello(), StatusUpdate)
    return peer


async def test_lines_wait_for_a_peer_that_wants_them(tmp_path: Path) -> None:
    line = Logged(0, 1, logging.INFO, "a", "loaded")
    async with serving(tmp_path) as served:
        served.server.tell_line(line, None)
        other = await served.greeted()
        assert await (await listener(served)).next() == line
        assert isinstance(await other.request(1, "hello").next(), Done)


async def test_a_line_about_one_request_is_told_to_who_has_sent_it(tmp_path: Path) -> None:
    async with serving(tmp_path, ready=False, task=replace(ECHO, run=noisy)) as served:
        with sent_by(served):
            served.ready()
            peer, other = await listener(served), await listener(served)
            assert await told(other.request(7, "a"), 2) == [("at work", 7), ("1", 7)]
            assert await told(peer.request(8, "a"), 2) == [("at work", 8), ("1", 8)]


async def test_a_line_about_several_requests_is_about_none(tmp_path: Path) -> None:
    async with serving(tmp_path, ready=False, task=replace(ECHO, run=noisy)) as served:
        served.gate.clear()
        with sent_by(served):
            served.ready()
            peer = await listener(served)
            assert await told(peer.request(1, "a"), 1) == [("at work", 1)]
            peer.request(2, "b").request(3, "b")
            await eventually(lambda: len(served.batcher._waiting) == 2)
            served.gate.set()
            assert await told(peer, 4) == [("1", 1), ("at work", 0), ("2", 2), ("2", 3)]


async def told(peer: Peer, count: int) -> list[tuple[str, int]]:
    """So many frames: the line or the answer, and of which request."""
    frames = [await peer.next() for _ in range(count)]
    return [
        (frame.message, frame.id) if isinstance(frame, Logged) else (frame.outcome.output, frame.id)  # type: ignore[union-attr]
        for frame in frames
    ]
