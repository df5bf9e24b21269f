"""A PostgreSQL that takes no writes, or has no connection left: what is said, and that all goes on when it is over."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg
import pytest

from modelyard.cli.problems import describe
from modelyard.control.journal import MOST_UNWRITTEN_FAILING, Journal
from modelyard.errors import StoreUnavailable
from modelyard.records.accounts import Account
from modelyard.store import Store
from tests.clock import HandClock
from tests.engine.harness import eventually
from tests.store.samples import life, line

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@contextmanager
def read_only(url: str) -> Iterator[None]:
    """As a primary is that another server has taken over from. Connections that are open notice, too."""

    def be_read_only(value: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
            connection.execute("SELECT pg_reload_conf()")
        while True:  # the reload is seen by new connections a moment later
            with psycopg.connect(url) as connection:
                (found,) = connection.execute("SHOW default_transaction_read_only").fetchone() or ("",)
            if found == value:
                return

    be_read_only("on")
    try:
        yield
    finally:
        be_read_only("off")


def test_one_that_is_read_only_says_so_and_is_read(store: Store, account: Account, postgresql_url: str) -> None:
    with read_only(postgresql_url):
        until_refused(store, account)
        with pytest.raises(StoreUnavailable, match="is read-only") as caught:
            store.events.add([line(account, "refused")])
        assert caught.value.retryable
        assert "the one that takes writes" in describe(caught.value).line
        assert store.accounts.list() == [account]

    store.events.add([line(account, "taken")])
    assert [event.message for event in store.events.list(None)][-1] == "taken"


def until_refused(store: Store, account: Account) -> None:
    """Connections that are in use learn of a setting when they next wait for a command."""
    while True:
        try:
            store.events.add([line(account, "not yet")])
        except StoreUnavailable:
            return


def test_one_without_a_connection_left_says_so(store: Store, account: Account, postgresql_url: str) -> None:
    store.close()
    with Store.open(postgresql_url) as later, ExitStack() as stack:
        later._database._engine.dispose()  # none is kept open
        while True:
            try:
                stack.enter_context(psycopg.connect(postgresql_url))
            except psycopg.OperationalError:
                break
        with pytest.raises(StoreUnavailable, match=r"has no connection left: .*too many") as caught:
            later.accounts.list()
        assert "max_connections" in describe(caught.value).line
        stack.close()
        assert later.accounts.list() == [account]


async def test_records_wait_while_it_is_read_only_and_work_is_refused_beyond_a_bound(
    store: Store, account: Account, postgresql_url: str
) -> None:
    journal = Journal(store, HandClock(), retry_delay_s=0.2)
    journal.start()
    lives = [life(account, number) for number in range(MOST_UNWRITTEN_FAILING)]

    with read_only(postgresql_url):
        await asyncio.to_thread(until_refused, store, account)
        for each in lives[:-1]:
            journal.submit(lambda each=each: store.instances.open(each))
        await eventually(lambda: journal.failing)
        journal.check()
        journal.submit(lambda: store.instances.open(lives[-1]))
        with pytest.raises(StoreUnavailable, match="read-only"):
            journal.check()
        assert store.instances.list(None) == []

    await journal.flush()
    journal.check()
    assert [each.id for each in store.instances.list(None)] == [each.id for each in lives]
    await journal.close()
