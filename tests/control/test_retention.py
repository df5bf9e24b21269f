"""What is old goes, a little at a time; what is on a bill stays, and the file does not grow for ever."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec import structs

from modelyard.control.retention import BATCH, RESPONSE_BATCH, Kept, Retention
from modelyard.records.clusters import Event
from modelyard.records.requests import RequestRecord
from modelyard.records.responses import StoredResponse
from modelyard.store.store import Store
from tests.clock import START, HandClock

KEPT = Kept(usage_days=10, event_days=5, event_lines=1000, audit_days=20)
DAY_S = 86_400


@pytest.fixture
def store(own_database: Path) -> Store:
    return Store.open(f"sqlite:///{own_database}")


async def test_old_lines_and_free_requests_go_and_what_is_charged_stays(store: Store) -> None:
    clock = HandClock()
    with store:
        account = store.accounts.create("ada", START).id
        free = RequestRecord("req_free", account, "org/name", 1, START, settled_at=START)
        charged = structs.replace(free, id="req_charged", charged_nano=7)
        store.requests.settle([free, charged])
        store.events.add([Event(account, "org/name", START, "note", "old")] * (2 * BATCH + 1))
        clock.advance(6 * DAY_S)
        store.events.add([Event(account, "org/name", clock.now(), "note", "new")])

        await Retention(store, clock, KEPT, rest_s=0).delete()

        assert [line.message for line in store.events.list(account)] == ["new"]
        assert store.requests.find(free.id) == free
        clock.advance(5 * DAY_S)
        await Retention(store, clock, KEPT, rest_s=0).delete()
        assert store.requests.find(free.id) is None
        assert store.requests.find(charged.id) == charged
        assert store.requests.spent_nano(account) == 7


async def test_responses_that_have_expired_go(store: Store) -> None:
    clock = HandClock()
    with store:
        account = store.accounts.create("ada", START).id
        for number in range(2 * RESPONSE_BATCH + 1):
            expires_at = START + timedelta(hours=1 if number else 3)
            store.responses.add(StoredResponse(f"resp_{number}", account, START, expires_at, b"x"), 1000, 1000)
        clock.advance(2 * 3600)
        await Retention(store, clock, KEPT, rest_s=0).delete()
        assert store.responses.find(account, "resp_0", clock.now()) is not None
        assert store.responses.find(account, "resp_1", START) is None


async def test_a_long_log_keeps_its_newest_lines_and_the_file_its_size(store: Store, own_database: Path) -> None:
    clock = HandClock()
    sizes = []
    with store:
        account = store.accounts.create("ada", START).id
        for number in range(6):
            begin = 2000 * number
            lines = [Event(account, "org/name", START, "note", f"{begin + n} {'x' * 200}") for n in range(2000)]
            store.events.add(lines)
            await Retention(store, clock, KEPT, rest_s=0).delete()
            with store._database.read() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            sizes.append(own_database.stat().st_size)
        kept = store.events.list(account, limit=5000)
        assert [int(line.message.split()[0]) for line in kept] == list(range(11_000, 12_000))
        assert max(sizes[2:]) < 1.2 * sizes[1]


async def test_the_log_of_one_account_is_not_shortened_by_what_another_does(store: Store) -> None:
    with store:
        ada, bob = (store.accounts.create(name, START).id for name in ("ada", "bob"))
        store.events.add([Event(ada, "org/name", START, "note", "mine")])
        store.events.add([Event(bob, "org/name", START, "note", str(n)) for n in range(3 * KEPT.event_lines)])
        await Retention(store, HandClock(), replace(KEPT, event_days=timedelta(days=99).days), rest_s=0).delete()
        assert [line.message for line in store.events.list(ada)] == ["mine"]
        assert len(store.events.list(bob, limit=5000)) == KEPT.event_lines
