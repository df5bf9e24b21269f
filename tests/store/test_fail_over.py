"""A PostgreSQL server that another one takes over from, of a URL that names both: all goes on there, in order."""

from __future__ import annotations

import asyncio

import pytest

from modelyard.control.journal import Journal
from modelyard.errors import LeaseLost, StoreUnavailable
from modelyard.store import Store
from modelyard.store.connect import build_engine, describe, parse_url
from tests.clock import HandClock
from tests.engine.harness import eventually
from tests.store.postgresql import run_replicated
from tests.store.samples import at, life, line

LONG_S = 3600.0


async def test_what_comes_while_another_server_takes_over_is_written_there_and_no_token_comes_twice() -> None:
    with run_replicated() as servers, Store.open(servers.url) as store:
        account = store.accounts.create("ada", at(0))
        first = store.leases.take("srv_a", "a", LONG_S)
        assert first is not None
        lives = [life(account, number) for number in range(5)]
        journal = Journal(store, HandClock(), retry_delay_s=0.05)
        journal.start()
        journal.submit(lambda: store.instances.open(lives[0]))
        await journal.flush()
        await asyncio.to_thread(servers.catch_up)
        await asyncio.to_thread(servers.cut)
        store.leases.release(first.token)
        untold = store.leases.take("srv_b", "b", LONG_S)
        assert untold is not None

        await asyncio.to_thread(servers.end_first)
        for each in lives[1:]:
            journal.submit(lambda each=each: store.instances.open(each))
        journal.event(account.id, "org/name", None, "note", "said meanwhile")
        await eventually(lambda: journal.failing)
        journal.check()  # work goes on
        with pytest.raises(StoreUnavailable):
            store.accounts.list()
        await asyncio.to_thread(servers.take_over)
        await journal.flush()

        assert [each.id for each in store.instances.list(None)] == [each.id for each in lives]
        assert [event.message for event in store.events.list(None)] == ["said meanwhile"]
        assert not store.leases.renew(untold.token, LONG_S)
        store.leases.release(first.token)
        following = store.leases.take("srv_c", "c", LONG_S)
        assert following is not None
        assert following.token > untold.token, "whoever runs replicas has seen that one"
        with pytest.raises(LeaseLost):
            store.led_with(untold.token).events.add([line(account, "never")])
        await journal.close()


def test_a_url_may_name_both_servers_of_a_database() -> None:
    both = "postgresql://modelyard:secret@/modelyard?host=db1:5432&host=db2:5433&target_session_attrs=read-write"
    engine = build_engine(parse_url(both), 1.0)
    _, told = engine.dialect.create_connect_args(engine.url)
    assert (told["host"], told["port"], told["target_session_attrs"]) == ("db1,db2", "5432,5433", "read-write")
    assert "secret" not in describe(parse_url(both))
