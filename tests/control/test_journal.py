"""Records reach the store in order, also when it is away for a while."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.control.disk_space import find_shortage
from modelyard.control.journal import (
    BEHIND,
    MOST_UNWRITTEN,
    MOST_UNWRITTEN_EVENTS,
    MOST_UNWRITTEN_FAILING,
    NICER,
    Journal,
    to_writes,
)
from modelyard.errors import NotFound, StoreUnavailable, Unavailable
from modelyard.records.clusters import Event
from modelyard.records.requests import RequestRecord
from modelyard.store.problems import STALLED
from modelyard.store.store import Store
from tests.clock import START, HandClock
from tests.loop import turns


def open_store(database: Path, lock_timeout_s: float = 10.0) -> Store:
    return Store.open(f"sqlite:///{database}", lock_timeout_s=lock_timeout_s)


async def test_records_are_written_in_the_order_they_came(own_database: Path) -> None:
    with open_store(own_database) as store:
        account = store.accounts.create("ada", HandClock().now()).id
        seen: list[str] = []

        def note_events() -> None:
            seen.append(",".join(line.message for line in store.events.list(account)))

        journal = Journal(store, HandClock())
        for message in ("a", "b"):
            journal.event(account, "org/name", None, "note", message)
        journal.submit(note_events)
        journal.event(account, "org/name", None, "note", "c", bytes=3)
        journal.submit(note_events)
        journal.start()
        await journal.close()
        assert seen == ["a,b", "a,b,c"]
        assert store.events.list(account)[-1].data == {"bytes": 3}


async def test_a_record_is_tried_again_while_the_store_is_away_and_the_others_wait(own_database: Path) -> None:
    with open_store(own_database, lock_timeout_s=0.01) as store:
        account = store.accounts.create("ada", HandClock().now()).id
        blocker = sqlite3.connect(own_database, isolation_level=None, check_same_thread=False)
        blocker.execute("BEGIN IMMEDIATE")
        away = threading.Event()
        journal = Journal(store, HandClock(), retry_delay_s=0)

        def third_try() -> None:
            attempts.append(1)
            if len(attempts) == 3:
                blocker.execute("ROLLBACK")
                away.set()

        attempts: list[int] = []

        def write() -> None:
            third_try()
            store.accounts.ensure("bob", HandClock().now())

        journal.submit(write)
        journal.event(account, "org/name", None, "note", "after")
        journal.start()
        await journal.flush()
        assert away.is_set()
        assert len(attempts) == 3
        assert store.accounts.find_by_name("bob") is not None
        assert [line.message for line in store.events.list(account)] == ["after"]
        await journal.close()
        blocker.close()


@pytest.mark.parametrize("error", [NotFound("No such account."), ValueError("a bug")])
async def test_a_record_that_can_never_be_written_does_not_hold_up_the_others(
    own_database: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock())
        done: list[str] = []

        def fail() -> None:
            raise error

        journal.start()
        journal.submit(fail)
        journal.submit(lambda: done.append("next"))
        await journal.close()
        assert done == ["next"]
        assert "a record could not be written" in caplog.text


async def test_a_close_does_not_wait_for_ever_for_a_store_that_stays_away(
    own_database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock(), retry_delay_s=0)

        def stay_away() -> None:
            raise Unavailable("The database is away.")

        journal.submit(stay_away)
        journal.start()
        await journal.close(deadline_s=0.02)
        assert "records are lost" in caplog.text
        await journal.close()


async def test_submitting_never_waits(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock())
        held = threading.Event()
        journal.submit(lambda: held.wait(60))
        journal.start()
        for _ in range(1000):
            journal.submit(lambda: None)
        flushing = asyncio.create_task(journal.flush())
        await turns()
        assert not flushing.done()
        held.set()
        await flushing
        await journal.close()


def test_neighbouring_lines_and_requests_are_each_one_transaction(own_database: Path) -> None:
    with open_store(own_database) as store:
        account = store.accounts.create("ada", START).id
        lines = [Event(account, "org/name", START, "note", str(n)) for n in range(3)]
        asked = [RequestRecord(f"req_{n}", account, "org/name", 1, START, settled_at=START) for n in range(3)]
        seen: list[int] = []

        def count_events() -> None:
            seen.append(len(store.events.list(account)))

        writes = to_writes(
            [lines[0], lines[1], asked[0], asked[1], count_events, count_events, asked[2], lines[2]], store
        )
        assert len(writes) == 6
        for write in writes:
            write()
        assert seen == [2, 2]
        assert [line.message for line in store.events.list(account)] == ["0", "1", "2"]
        assert [store.requests.find(each.id) for each in asked] == asked


async def test_the_writer_gives_way_to_those_that_answer_unless_it_is_behind(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock())
        nice: list[int] = []

        def note_nice() -> None:
            nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

        journal.start()
        journal.submit(note_nice)
        await journal.flush()
        for _ in range(BEHIND + 1):
            journal.submit(note_nice)
        await journal.close()
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert nice[0] == min(own + NICER, 19)
        assert set(nice[1:]) == {own}


async def test_what_stood_still_in_the_database_is_written_at_once_by_a_thread_that_has_its_turns(
    own_database: Path,
) -> None:
    """Nothing of it was written, and nothing is wrong with the database."""
    with open_store(own_database) as store:
        journal = Journal(store, HandClock(), retry_delay_s=3600)
        nice: list[int] = []

        def stand_still_once() -> None:
            nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            if len(nice) == 1:
                raise StoreUnavailable("A transaction stood still.", cause=STALLED)

        journal.start()
        journal.submit(stand_still_once)
        await journal.flush()
        own = os.getpriority(os.PRIO_PROCESS, 0)
        assert nice == [min(own + NICER, 19), own]
        assert not journal.failing
        await journal.close()


async def test_a_flush_waits_for_what_was_submitted_before_it_and_no_longer(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock())
        done: list[int] = []
        held = [threading.Event() for _ in range(3)]
        journal.start()
        for number in range(3):
            journal.submit(lambda number=number: held[number].wait(60) and done.append(number))
            await turns()
            if number == 0:
                flushing = asyncio.create_task(journal.flush())
                await turns()
        assert not flushing.done()
        held[0].set()
        await flushing
        assert done == [0]
        for each in held:
            each.set()
        await journal.close()
        assert done == [0, 1, 2]


class Away:
    """A write that the store does not take until `returned` is set."""

    def __init__(self, **data: str) -> None:
        self.returned = threading.Event()
        self._data = data

    def __call__(self) -> None:
        if not self.returned.is_set():
            raise StoreUnavailable("The disk of /var/lib is away.", **self._data)


async def test_a_full_disk_ends_new_work_with_the_first_record_and_room_on_it_begins_it_again(
    own_database: Path,
) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock(), retry_delay_s=0)
        write = Away(cause="disk full")
        journal.check()
        journal.submit(write)
        journal.start()
        await until(lambda: journal.failing)
        with pytest.raises(StoreUnavailable) as refused:
            journal.check()
        assert refused.value.data["cause"] == "disk full"
        write.returned.set()
        await journal.flush()
        journal.check()
        assert not journal.failing
        await journal.close()


async def test_a_database_that_is_away_ends_new_work_when_too_many_records_wait(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock(), retry_delay_s=0)
        write = Away()
        journal.submit(write)
        journal.start()
        await until(lambda: journal.failing)
        for _ in range(MOST_UNWRITTEN_FAILING - 2):
            journal.submit(lambda: None)
        journal.check()
        journal.submit(lambda: None)
        with pytest.raises(StoreUnavailable):
            journal.check()
        write.returned.set()
        await journal.flush()
        journal.check()
        await journal.close()


async def test_a_store_that_only_takes_its_time_ends_new_work_at_a_bound(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock())
        for _ in range(MOST_UNWRITTEN - 1):
            journal.submit(lambda: None)
        journal.check()
        journal.submit(lambda: None)
        with pytest.raises(StoreUnavailable, match="records wait"):
            journal.check()
        journal.start()
        await journal.flush()
        journal.check()
        await journal.close()


async def test_lines_of_logs_have_a_bound_and_requests_are_never_given_up(own_database: Path) -> None:
    with open_store(own_database) as store:
        account = store.accounts.create("ada", START).id
        journal = Journal(store, HandClock())
        for _ in range(MOST_UNWRITTEN_EVENTS + 5):
            journal.event(account, "org/name", None, "note", "again")
        request = RequestRecord("req_1", account, "org/name", 1, START, settled_at=START)
        journal.settle(request)
        journal.start()
        await journal.flush()
        assert len(store.events.list(account, limit=MOST_UNWRITTEN_EVENTS + 5)) == MOST_UNWRITTEN_EVENTS
        assert store.requests.find(request.id) == request
        await journal.close()


async def test_who_reads_does_not_wait_for_a_store_that_is_away(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock(), retry_delay_s=0)
        write = Away(cause="disk")
        journal.start()
        await journal.flush_for_reader()
        journal.submit(write)
        await until(lambda: journal.failing)
        with pytest.raises(StoreUnavailable):
            await journal.flush_for_reader()
        write.returned.set()
        await until(lambda: not journal.failing)
        await journal.flush_for_reader()
        await journal.close()


async def test_who_reads_waits_for_a_store_that_takes_its_time_as_long_as_they_say(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock())
        held = threading.Event()
        journal.start()
        journal.submit(lambda: held.wait(60))
        with pytest.raises(StoreUnavailable, match="too slowly"):
            await journal.flush_for_reader(0.01)
        reading = asyncio.create_task(journal.flush_for_reader(60))
        await turns()
        held.set()
        await reading
        await journal.close()


async def test_too_little_room_ends_new_work_while_there_is_still_some_for_records(own_database: Path) -> None:
    with open_store(own_database) as store:
        journal = Journal(store, HandClock())
        journal.start()
        journal.note_shortage(find_shortage(own_database.parent, 2**62))
        with pytest.raises(StoreUnavailable, match="MB are kept free"):
            journal.check()
        await journal.flush_for_reader()
        journal.note_shortage(find_shortage(own_database.parent, 0))
        journal.check()
        await journal.close()


async def until(condition: Callable[[], bool]) -> None:
    """Lets the loop turn until it holds; the test's own deadline bounds it."""
    while not condition():
        await asyncio.sleep(0)
