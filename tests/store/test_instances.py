import gc
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy.exc import StatementError

from modelyard.errors import NotFound
from modelyard.records.accounts import Account
from modelyard.store import Store, instances
from tests.store.samples import OTHER_SERVER, SERVER, at, life

REPEATED = 5


def test_a_life_is_listed_as_it_was_entered(store: Store, account: Account) -> None:
    instance = replace(life(account), pid=2**22, pid_started=2**40, memory_bytes=2**41, ready_at=at(3))

    store.instances.open(instance)

    assert store.instances.list(account.id) == [instance]
    assert store.instances.list_open() == [instance]


def test_opening_the_same_id_again_changes_nothing(store: Store, account: Account) -> None:
    instance = life(account)
    store.instances.open(instance)
    store.instances.end(instance.id, at(5), "idle")
    ended = store.instances.list(account.id)

    store.instances.open(instance)

    assert store.instances.list(account.id) == ended


def test_a_life_needs_an_account(store: Store, account: Account) -> None:
    with pytest.raises(NotFound, match="account"):
        store.instances.open(replace(life(account), account_id="acc_0"))


def test_update_changes_only_what_is_given(store: Store, account: Account) -> None:
    instance = life(account)
    store.instances.open(instance)

    assert store.instances.update(instance.id) == instance
    running = store.instances.update(instance.id, pid=41, pid_started=42)
    assert running == replace(instance, pid=41, pid_started=42)
    ready = store.instances.update(instance.id, ready_at=at(2), heartbeat_at=at(2), memory_bytes=9)
    assert ready == replace(running, ready_at=at(2), heartbeat_at=at(2), memory_bytes=9)
    assert store.instances.list_open() == [ready]


def test_the_first_end_wins(store: Store, account: Account) -> None:
    instance = life(account)
    store.instances.open(instance)

    assert store.instances.end(instance.id, at(5), "idle")
    assert not store.instances.end(instance.id, at(9), "killed")

    assert store.instances.list(account.id) == [replace(instance, ended_at=at(5), end_reason="idle")]
    assert store.instances.list_open() == []


def test_an_ended_life_is_never_changed(store: Store, account: Account) -> None:
    instance = life(account)
    store.instances.open(instance)
    store.instances.end(instance.id, at(5), "idle")
    ended = store.instances.list(account.id)

    store.instances.heartbeat([instance.id], at(9))

    assert store.instances.update(instance.id, ready_at=at(9)) is None
    assert store.instances.list(account.id) == ended


@pytest.mark.parametrize("ready", [None, 10.0])
def test_a_clock_set_back_makes_no_negative_life(store: Store, account: Account, ready: float | None) -> None:
    instance = replace(life(account, 5), ready_at=None if ready is None else at(ready))
    store.instances.open(instance)

    store.instances.end(instance.id, at(-100), "idle")

    [ended] = store.instances.list(account.id)
    assert ended.ended_at == at(5 if ready is None else ready)


def test_heartbeat_reaches_the_named_lives_and_never_goes_back(store: Store, account: Account) -> None:
    lives = [life(account, n) for n in range(3)]
    for instance in lives:
        store.instances.open(instance)

    store.instances.heartbeat([lives[0].id, lives[1].id, "in_0"], at(60))
    store.instances.heartbeat([lives[0].id], at(30))
    store.instances.heartbeat([], at(90))

    assert [instance.heartbeat_at for instance in store.instances.list_open()] == [at(60), at(60), at(2)]


def test_any_number_of_lives_are_noted_at_once(store: Store, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "BEATING_AT_ONCE", 2)
    lives = [life(account, n) for n in range(5)]
    for instance in lives:
        store.instances.open(instance)
    store.instances.heartbeat({each.id for each in lives}, at(60))
    assert {each.heartbeat_at for each in store.instances.list_open()} == {at(60)}


def test_a_life_leaves_nothing_behind_that_only_the_collector_finds(store: Store, account: Account) -> None:
    def live(begin: float) -> None:
        instance = life(account, begin)
        store.instances.open(instance)
        store.instances.update(instance.id, started_at=at(begin), pid=1)
        store.instances.update(instance.id, ready_at=at(begin), heartbeat_at=at(begin))
        store.instances.heartbeat([instance.id], at(begin + 1))
        assert store.instances.end(instance.id, at(begin + 2), "idle")

    live(0)
    gc.collect()
    gc.disable()
    try:
        for number in range(REPEATED):
            live(number)
        found = gc.collect()
    finally:
        gc.enable()
    assert found < REPEATED


def test_unknown_life(store: Store, account: Account) -> None:
    assert store.instances.update("in_0", pid=1) is None
    assert store.instances.update("in_0") is None
    assert not store.instances.end("in_0", at(1), "idle")


def test_open_lives_are_listed_by_node(store: Store, account: Account) -> None:
    here, there = life(account, 1, node="here"), life(account, 0, node="there")
    for instance in (here, there):
        store.instances.open(instance)

    assert store.instances.list_open("here") == [here]
    assert store.instances.list_open() == [there, here]


@pytest.mark.parametrize(
    ("since", "until", "names"),
    [
        (None, None, ["org/early", "org/late", "org/running"]),
        (10, None, ["org/late", "org/running"]),  # ended at 10: does not touch what follows
        (9.999999, None, ["org/early", "org/late", "org/running"]),
        (None, 20, ["org/early"]),  # began at 20: does not touch what is before
        (None, 20.000001, ["org/early", "org/late"]),
        (12, 15, []),
        (22, 25, ["org/late"]),
        (1000, None, ["org/running"]),
    ],
)
def test_lives_are_listed_when_they_touch_the_time(
    store: Store, account: Account, since: float | None, until: float | None, names: list[str]
) -> None:
    for name, begin, end in [("org/running", 40, None), ("org/late", 20, 30), ("org/early", 0, 10)]:
        instance = life(account, begin, model_id=name)
        store.instances.open(instance)
        if end is not None:
            store.instances.end(instance.id, at(end), "idle")

    found = store.instances.list(
        account.id, since=None if since is None else at(since), until=None if until is None else at(until)
    )

    assert [instance.model_id for instance in found] == names


def test_a_server_may_end_its_own_open_lives_and_those_from_before_there_were_servers(
    store: Store, account: Account
) -> None:
    lives = [
        replace(life(account, begin), server_id=server_id)
        for begin, server_id in enumerate((SERVER, OTHER_SERVER, None))
    ]
    ended = replace(life(account, 9), server_id=SERVER)
    for each in (*lives, ended):
        store.instances.open(each)
    store.instances.end(ended.id, at(10), "idle")

    assert store.instances.list_left_open(SERVER) == [lives[0], lives[2]]
    assert store.instances.list_left_open(OTHER_SERVER) == [lives[1], lives[2]]


def test_the_one_server_ends_the_open_lives_of_others_at_their_last_heartbeat(store: Store, account: Account) -> None:
    ours, theirs = (replace(life(account), server_id=server_id) for server_id in (SERVER, OTHER_SERVER))
    over = replace(life(account, 1), server_id=OTHER_SERVER)
    for each in (ours, theirs, over):
        store.instances.open(each)
    store.instances.end(over.id, at(2), "idle")
    store.instances.heartbeat([ours.id, theirs.id], at(30))

    assert store.instances.end_those_of_others(SERVER, "its server is gone") == 1
    assert store.instances.end_those_of_others(SERVER, "its server is gone") == 0

    ends = {each.id: (each.ended_at, each.end_reason) for each in store.instances.list(account.id)}
    assert ends == {ours.id: (None, None), theirs.id: (at(30), "its server is gone"), over.id: (at(2), "idle")}


def test_lives_are_listed_by_account_and_model(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    mine, mine_too, theirs = life(account, 0), life(account, 1, model_id="org/other"), life(other, 2)
    for instance in (mine, mine_too, theirs):
        store.instances.open(instance)

    assert store.instances.list(account.id, mine_too.model_id) == [mine_too]
    assert store.instances.list(account.id) == [mine, mine_too]
    assert store.instances.list(None) == [mine, mine_too, theirs]


def test_moments_keep_their_microseconds_and_come_back_in_utc(store: Store, account: Account) -> None:
    in_tokyo = datetime(2026, 3, 2, 8, 0, 0, 1, tzinfo=timezone(timedelta(hours=9)))
    store.instances.open(replace(life(account), created_at=in_tokyo, heartbeat_at=in_tokyo))

    [instance] = store.instances.list_open()

    assert instance.created_at.isoformat() == "2026-03-01T23:00:00.000001+00:00"


def test_a_naive_moment_is_refused(store: Store, account: Account) -> None:
    with pytest.raises(StatementError, match="naive"):
        store.instances.open(replace(life(account), created_at=datetime(2026, 3, 1)))
