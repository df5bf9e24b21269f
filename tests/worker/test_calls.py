"""Functions that the loop's thread runs for other threads."""

from __future__ import annotations

import asyncio
import threading

import pytest

from modelyard.worker.calls import LoopCalls

DEADLINE_S = 50.0


class Ran:
    """What was run, and where a run of several ended."""

    def __init__(self, last: str) -> None:
        self.seen: list[str] = []
        self._last = last
        self._done = asyncio.Event()
        self.calls = LoopCalls(asyncio.get_running_loop(), after=self._note_end)

    def note(self, name: str) -> None:
        self.seen.append(name)
        if name == self._last:
            self._done.set()

    def _note_end(self) -> None:
        self.seen.append("|")

    async def all(self) -> str:
        async with asyncio.timeout(DEADLINE_S):
            await self._done.wait()
        return "".join(self.seen)


async def test_what_was_put_before_the_loop_looks_is_run_in_order_with_one_wake() -> None:
    ran = Ran(last="c")
    thread = threading.Thread(target=lambda: [ran.calls.put(ran.note, name) for name in "abc"])
    thread.start()
    thread.join()
    assert await ran.all() == "abc|"


async def test_what_is_put_while_others_run_is_run_after_them() -> None:
    ran = Ran(last="b")
    ran.calls.put(lambda: ran.calls.put(ran.note, "b"))
    ran.calls.put(ran.note, "a")
    assert await ran.all() == "a|b|"


async def test_many_threads_lose_nothing() -> None:
    ran = Ran(last="end")

    def put_many(thread: int) -> None:
        for number in range(500):
            ran.calls.put(ran.note, f"{thread},{number}")

    threads = [threading.Thread(target=put_many, args=(thread,)) for thread in range(4)]
    for each in threads:
        each.start()
    await asyncio.to_thread(lambda: [each.join() for each in threads])
    ran.calls.put(ran.note, "end")
    await ran.all()
    for thread in range(4):
        own = [each for each in ran.seen if each.startswith(f"{thread},")]
        assert own == [f"{thread},{number}" for number in range(500)]


async def test_one_that_fails_does_not_keep_others_from_running(caplog: pytest.LogCaptureFixture) -> None:
    ran = Ran(last="a")
    ran.calls.put(lambda: 1 / 0)
    ran.calls.put(ran.note, "a")
    assert await ran.all() == "a|"
    assert "division by zero" in caplog.text


async def test_nothing_happens_once_the_loop_has_ended() -> None:
    loop = asyncio.new_event_loop()
    calls = LoopCalls(loop)
    loop.close()
    calls.put(int)
