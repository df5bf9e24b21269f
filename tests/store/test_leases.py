"""Who leads the servers of one PostgreSQL database, and what an earlier leader cannot write any more."""

import os
import select
import socket
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Connection, text

from modelyard.errors import DatabaseTaken, LeaseLost, StoreUnavailable, Unavailable
from modelyard.records.accounts import Account
from modelyard.records.leases import NOWHERE, LeaderAddress
from modelyard.store import Store
from modelyard.store.database import ATTEMPTS, Database
from modelyard.store.leases import LEASE_LOCK_S, Leases
from modelyard.store.server_lock import open_server_lock
from tests.store.samples import CAPACITY, MODEL, at, life, line

pytestmark = pytest.mark.parametrize("url", ["postgresql"], indirect=True)

LONG_S = 3600.0


def take(store: Store, holder: str, for_s: float = LONG_S) -> int | None:
    lease = store.leases.take(holder, f"pid 1 on {holder}", for_s)
    return None if lease is None else lease.token


def lead(store: Store, holder: str, for_s: float = LONG_S) -> int:
    """The token of a server that nothing keeps from leading."""
    token = take(store, holder, for_s)
    assert token is not None
    return token


def waits_for_a_lock(store: Store) -> bool:
    with store._database.read() as connection:
        return bool(connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one())


def test_one_leads_until_its_lease_ends(store: Store) -> None:
    assert store.leases.find() is None
    token = lead(store, "srv_a")
    assert take(store, "srv_b") is None
    assert store.leases.renew(token, LONG_S)
    assert take(store, "srv_b") is None
    found = store.leases.find()
    assert found is not None
    assert (found.token, found.holder, found.holder_name) == (token, "srv_a", "pid 1 on srv_a")

    store.leases.release(token)

    assert lead(store, "srv_b") > token
    assert not store.leases.renew(token, LONG_S)
    store.leases.release(token)
    assert take(store, "srv_a") is None


def test_who_leads_says_where_it_is_followed(store: Store) -> None:
    address = LeaderAddress("10.0.0.1:1", "10.0.0.1:2", "secret")
    store.leases.take("srv_a", "a", LONG_S, address)
    found = store.leases.find()
    assert found is not None
    assert found.address == address
    store.leases.release(found.token)
    lead(store, "srv_b")
    found = store.leases.find()
    assert found is not None
    assert found.address == NOWHERE


def test_a_server_that_is_started_again_does_not_wait_for_its_own_lease(store: Store) -> None:
    token = lead(store, "srv_a")
    assert lead(store, "srv_a") > token
    assert not store.leases.renew(token, LONG_S)


def test_a_lease_that_has_ended_goes_on_while_nobody_has_taken_it(store: Store) -> None:
    assert store.leases.renew(lead(store, "srv_a", for_s=0.0), LONG_S)
    assert take(store, "srv_b") is None


def test_of_many_that_ask_at_once_one_leads(store: Store) -> None:
    tokens = [0]
    for _ in range(5):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda number: take(store, f"srv_{number}"), range(8)))
        (token,) = (each for each in found if each is not None)
        assert token > tokens[-1]
        tokens.append(token)
        store.leases.release(token)


def test_who_led_before_writes_nothing(store: Store, account: Account) -> None:
    led = store.led_with(lead(store, "srv_a", for_s=0.0))
    instance = life(account, 1)
    led.instances.open(instance)
    led.events.add([line(account, "written")])
    store.jobs.ask(MODEL, account.id, at(0))
    cluster, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(0))
    following = store.led_with(lead(store, "srv_b"))

    for write in (
        lambda: led.instances.open(life(account, 2)),
        lambda: led.instances.heartbeat([instance.id], at(500)),
        lambda: led.instances.end(instance.id, at(600), "stopped"),
        lambda: led.events.add([line(account, "too late")]),
        lambda: led.jobs.claim("srv_a", at(1)),
        lambda: led.clusters.add_inferences({cluster.id: (1, at(1))}),
        lambda: led.requests.settle_unclaimed([], at(1), at(1)),
    ):
        with pytest.raises(LeaseLost):
            write()

    (left,) = store.instances.list(None)
    assert (left.heartbeat_at, left.ended_at) == (instance.heartbeat_at, None)
    assert [event.message for event in store.events.list(None)] == ["written"]
    assert store.jobs.claim("srv_b", at(1)) is not None
    assert store.clusters.get(cluster.id).inferences == 0
    following.instances.end(instance.id, at(700), "stopped")


def test_who_has_led_writes_while_nobody_else_does(store: Store, account: Account) -> None:
    led = store.led_with(lead(store, "srv_a", for_s=0.0))
    led.events.add([line(account, "nobody else")])
    assert [event.message for event in store.events.list(None)] == ["nobody else"]


def test_nobody_leads_before_what_the_leader_writes_is_committed(store: Store, account: Account) -> None:
    """And the leader renews its lease meanwhile."""
    token = lead(store, "srv_a", for_s=0.0)
    led = store.led_with(token)
    with ThreadPoolExecutor() as pool:
        with led._database.write():
            assert pool.submit(store.leases.renew, token, 0.0).result()
            taking = pool.submit(take, store, "srv_b")
            while not waits_for_a_lock(store):
                assert not taking.done()
            led.events.add([line(account, "before")])
            assert not taking.done()
        assert taking.result() is not None
    assert [event.message for event in store.events.list(None)] == ["before"]


def test_a_leader_that_stops_in_the_middle_of_a_transaction_keeps_nobody_from_leading(
    store: Store, account: Account
) -> None:
    led, began, may_go_on = store.led_with(lead(store, "srv_a", for_s=0.0)), Event(), Event()

    def stop_in_the_middle() -> None:
        with led._database.write():
            led.events.add([line(account, "never")])
            began.set()
            may_go_on.wait()
            led.events.add([line(account, "never either")])

    with ThreadPoolExecutor() as pool:
        stopped = pool.submit(stop_in_the_middle)
        began.wait()
        lead(store, "srv_b")
        may_go_on.set()
        with pytest.raises(Unavailable):
            stopped.result()
    assert store.events.list(None) == []


def test_a_server_that_stops_while_it_renews_its_lease_keeps_nobody_from_leading(store: Store, url: str) -> None:
    token = lead(store, "srv_a", for_s=0.0)
    asked = Database(url, lock_timeout_s=LEASE_LOCK_S)

    def stop_in_the_middle() -> None:
        with asked.write():
            assert Leases(asked).renew(token, LONG_S)
            lead(store, "srv_b")

    with pytest.raises(StoreUnavailable, match="stood still"):
        stop_in_the_middle()
    asked.close()


def test_what_a_leader_asks_for_begins_anew_where_a_busy_machine_has_let_it_stand_still(
    store: Store, account: Account
) -> None:
    late: list[Connection] = []

    def stand_still_once(connection: Connection) -> None:
        if not late:
            late.append(connection)
            stand_still(connection)

    led = Store(store._database.checked(stand_still_once))
    for act in (
        lambda: led.clusters.put(account.id, MODEL, CAPACITY, 60, at(0)),
        lambda: led.clusters.update(store.clusters.list()[0].id, timeout_s=90, now=at(1)),
        lambda: led.clusters.delete(store.clusters.list()[0].id),
        lambda: led.jobs.ask(MODEL, account.id, at(0)),
        lambda: led.jobs.claim("srv_a", at(1)),
        lambda: led.jobs.requeue_interrupted("srv_a"),
        lambda: led.jobs.cancel(MODEL, "cancelled", at(2)),
    ):
        late.clear()
        assert act()
        assert late
    changes = store.clusters.find_changed(0)
    assert changes is not None
    assert (changes.version, len(changes.deleted)) == (3, 1), "each was done once"
    job = store.jobs.find(MODEL)
    assert job is not None
    assert (job.attempts, job.message) == (1, "cancelled")


def test_what_a_leader_asks_for_begins_anew_where_its_connection_breaks_without_a_word(
    store: Store, account: Account
) -> None:
    broken: list[Connection] = []

    def break_once(connection: Connection) -> None:
        if not broken:
            broken.append(connection)
            connection.execute(text("SELECT 1"))
            with socket.socket(fileno=os.dup(driver_of(connection).fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)

    led = Store(store._database.checked(break_once))
    assert led.clusters.put(account.id, MODEL, CAPACITY, 60, at(0))
    assert broken
    assert len(store.clusters.list()) == 1


def test_what_stands_still_again_and_again_is_refused_and_changes_nothing(store: Store, account: Account) -> None:
    tries: list[Connection] = []

    def stand_still_always(connection: Connection) -> None:
        tries.append(connection)
        stand_still(connection)

    led = Store(store._database.checked(stand_still_always))
    with pytest.raises(StoreUnavailable, match="stood still"):
        led.clusters.put(account.id, MODEL, CAPACITY, 60, at(0))
    assert len(tries) == ATTEMPTS
    assert store.clusters.list() == []


def stand_still(connection: Connection) -> None:
    """Until PostgreSQL has ended the transaction."""
    connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 1"))
    select.select([driver_of(connection).fileno()], [], [])


def driver_of(connection: Connection) -> Any:
    driver = connection.connection.driver_connection
    assert driver is not None
    return driver


def test_a_store_that_is_closed_is_closed_for_its_leader(store: Store, account: Account) -> None:
    led = store.led_with(lead(store, "srv_a"))
    store.close()
    with pytest.raises(Unavailable, match="closed"):
        led.events.add([line(account, "late")])


def test_servers_that_share_a_database_and_one_that_does_not_refuse_each_other(url: str) -> None:
    one, other = (open_server_lock(url, name, is_shared=True) for name in ("one", "other"))
    alone = open_server_lock(url, "alone")
    one.take()
    other.take()
    other.confirm()
    with pytest.raises(DatabaseTaken, match=r"one|other"):
        alone.take()
    one.close()
    other.close()
    alone.take()
    with pytest.raises(DatabaseTaken, match="alone"):
        one.take()
    alone.close()
