"""A model's life in a process: its small decisions, and what becomes of requests when it ends."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from modelyard.errors import BootFailed, ModelRefused, ModelyardError, NotFound, ReplicaLost
from modelyard.protocol import Failed, Loading, Outcome, Ready, Status
from modelyard.units import MIB
from modelyard.worker import life
from modelyard.worker.calls import call_on_loop, submit_call
from modelyard.worker.life import ModelLife, describe_failure, differs, is_permanent
from modelyard.worker.memory import STEP_BYTES, Gauge, Memory, resident_bytes
from tests.engine.harness import echo_spec, eventually
from tests.engine.workers import EchoLibrary

DEADLINE_S = 200.0
PIECE_BYTES = 60_000
"""Small enough to come from the heap, which is not given back from its middle."""


@pytest.mark.parametrize(
    ("error", "words", "permanent"),
    [
        (ModelRefused("no weights"), "no weights", True),
        (NotFound("no such task"), "no such task", True),
        (BootFailed("does not fit into the memory"), "does not fit into the memory", False),
        (MemoryError(), "Out of memory while loading.", False),
        (SystemError("error return without exception set"), "Out of memory while loading.", False),
        (OSError(24, "Too many open files"), "OSError: [Errno 24] Too many open files", False),
        (ValueError("first line\nsecond line"), "ValueError: first line", True),
        (KeyError(), "KeyError: no message", True),
    ],
)
def test_describe_failure(error: BaseException, words: str, permanent: bool) -> None:
    assert describe_failure(error) == words
    assert is_permanent(error) is permanent


@pytest.mark.parametrize(
    ("held", "peak", "worth_telling"),
    [
        (0, 0, False),
        (STEP_BYTES - 1, 1 - STEP_BYTES, False),
        (STEP_BYTES, 0, True),
        (-STEP_BYTES, 0, True),
        (0, STEP_BYTES, True),
    ],
)
def test_only_changes_that_matter_are_told(held: int, peak: int, worth_telling: bool) -> None:
    before = Memory(100 * STEP_BYTES, 200 * STEP_BYTES)
    assert differs(Memory(before.held_bytes + held, before.peak_bytes + peak), before) is worth_telling


def test_more_memory_on_an_accelerator_is_told() -> None:
    before = Memory(100 * STEP_BYTES, 200 * STEP_BYTES)
    assert differs(replace(before, device_bytes=STEP_BYTES), before)
    assert not differs(replace(before, device_bytes=STEP_BYTES - 1), before)


# --- a whole life ---


class Watched:
    """A life with an echoing model, and what it told."""

    def __init__(self, path: str = "echo", **spec: Any) -> None:
        self.told: list[Status] = []
        self.library = EchoLibrary()
        self.life = ModelLife(echo_spec(path, **spec), self.library, self._take)
        self._changed = asyncio.Event()

    def _take(self, status: Status) -> None:
        self.told.append(status)
        self._changed.set()

    async def until(self, kind: type[Status]) -> Any:
        """The status once it is of this kind."""
        async with asyncio.timeout(DEADLINE_S):
            while not isinstance(self.life.status, kind):
                self._changed.clear()
                await self._changed.wait()
        return self.life.status

    def ask(self, text: str) -> asyncio.Future[Outcome | ModelyardError]:
        """What will become of a request."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Outcome | ModelyardError] = loop.create_future()
        assert self.life.scheduler is not None
        submit_call(
            self.life.scheduler,
            {"text": text},
            {},
            emit=None,
            deliver=lambda outcome: call_on_loop(loop, answer.set_result, outcome),
        )
        return answer


@asynccontextmanager
async def alive(path: str = "echo", **spec: Any) -> AsyncIterator[Watched]:
    watched = Watched(path, **spec)
    watched.life.start()
    try:
        yield watched
    finally:
        watched.life.stop()
        if watched.life.scheduler is not None:
            await eventually(lambda: "model" not in {thread.name for thread in threading.enumerate()})


async def test_a_life_is_told_from_loading_to_ready() -> None:
    async with alive(max_batch=3) as one:
        ready = await one.until(Ready)
        assert (ready.slots, one.told[0]) == (3, Loading())
        one.life.set_threads(5)
        assert await one.ask("hello") == Outcome("hello")
        assert one.library.threads == [1, 5]


async def test_a_model_that_leaves_fails_what_it_held_and_what_waits_and_the_life_with_it() -> None:
    async with alive() as one:
        await one.until(Ready)
        one.library.answers.clear()
        answers = [one.ask("leave"), one.ask("waiting")]
        one.library.answers.set()
        async with asyncio.timeout(DEADLINE_S):
            ended = await asyncio.gather(*answers)
        assert [type(answer) for answer in ended] == [ReplicaLost, ReplicaLost]
        assert await one.until(Failed) == Failed("SystemExit: the model has had enough", permanent=False)
        assert one.life.error is not None
        with pytest.raises(ReplicaLost):
            one.ask("late")


async def test_a_model_that_cannot_be_loaded_says_why() -> None:
    async with alive("refuse") as one:
        assert await one.until(Failed) == Failed("there are no weights in it", permanent=True)
        assert isinstance(one.life.error, ModelRefused)
        assert one.life.scheduler is None


async def test_what_was_freed_is_given_back_to_the_machine_once_nobody_asks() -> None:
    async with alive() as one:
        await one.until(Ready)
        kept = leave_freed(64 * MIB)
        before = resident_bytes()
        assert before is not None
        assert await one.ask("hello") == Outcome("hello")
        one.life.note_answer()
        await eventually(lambda: (resident_bytes() or before) < before - 48 * MIB)
        ctypes.CDLL(None).free(ctypes.c_void_p(kept))


async def test_memory_is_looked_at_once_it_has_answered_and_not_while_nobody_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks: list[Gauge] = []
    has_moved = Gauge.has_moved

    def counted(gauge: Gauge) -> bool:
        looks.append(gauge)
        return has_moved(gauge)

    monkeypatch.setattr(Gauge, "has_moved", counted)
    monkeypatch.setattr(life, "MEMORY_SOON_S", 0.0)
    monkeypatch.setattr(life, "MEMORY_EVERY_S", 0.0)
    async with alive() as one:
        await one.until(Ready)
        one.life.note_answer()
        await eventually(lambda: len(looks) == 1)
        for _ in range(100):  # turns of the loop, in which it would be looked at again
            await one.ask("hello")
        assert len(looks) == 1


def leave_freed(size: int) -> int:
    """Leaves so many bytes with the allocator, below a piece that keeps it from giving them back; that piece."""
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    pieces = [library.malloc(ctypes.c_size_t(PIECE_BYTES)) for _ in range(size // PIECE_BYTES + 1)]
    for piece in pieces:
        ctypes.memset(piece, 1, PIECE_BYTES)
    for piece in pieces[:-1]:
        library.free(ctypes.c_void_p(piece))
    kept: int = pieces[-1]
    return kept
