from collections.abc import Sequence

import pytest
from sqlalchemy.exc import StatementError

from modelyard.errors import NotFound
from modelyard.records.accounts import Account
from modelyard.records.clusters import Event
from modelyard.store import Store
from tests.store.samples import MODEL, at, line


def messages(events: Sequence[Event]) -> list[str]:
    return [event.message for event in events]


def test_a_line_comes_back_with_an_id(store: Store, account: Account) -> None:
    written = Event(account.id, MODEL, at(1), "boot", "needs 3.1 GB", cluster_id="cl_1", data={"free": [2.2, None]})

    store.events.add([written])

    [read] = store.events.list(account.id)
    assert read.id is not None
    assert (read.account_id, read.model_id, read.at, read.kind) == (account.id, MODEL, at(1), "boot")
    assert (read.message, read.cluster_id, read.data) == ("needs 3.1 GB", "cl_1", {"free": [2.2, None]})


def test_lines_are_listed_newest_last(store: Store, account: Account) -> None:
    store.events.add([line(account, str(n)) for n in range(5)])
    store.events.add([])

    assert messages(store.events.list(account.id)) == ["0", "1", "2", "3", "4"]
    assert messages(store.events.list(account.id, limit=2)) == ["3", "4"]
    assert store.events.list(account.id, limit=0) == []


def test_a_reader_pages_through_everything_after_what_it_saw(store: Store, account: Account) -> None:
    store.events.add([line(account, str(n)) for n in range(5)])
    seen: list[str] = []
    last = 0

    while page := store.events.list(account.id, after_id=last, limit=2):
        seen += messages(page)
        last = page[-1].id or 0

    assert seen == ["0", "1", "2", "3", "4"]


def test_lines_are_listed_by_account_and_model(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    store.events.add([line(account, "a"), line(account, "b", model_id="org/other"), line(other, "c")])

    assert messages(store.events.list(account.id)) == ["a", "b"]
    assert messages(store.events.list(account.id, MODEL)) == ["a"]
    assert messages(store.events.list(None)) == ["a", "b", "c"]


def test_last_words_are_kept_whatever_bytes_were_in_them(store: Store, account: Account) -> None:
    message, detail = "died: \0\udcff naïve 🧵", "\0\udcff 🧵"

    store.events.add([Event(account.id, MODEL, at(1), "died", message, data={"stderr": detail})])

    [read] = store.events.list(account.id)
    assert read.message == "died: �� naïve 🧵"
    assert read.data == {"stderr": detail}


def test_several_lines_are_added_all_or_none(store: Store, account: Account) -> None:
    with pytest.raises(NotFound, match="account"):
        store.events.add([line(account, "fine"), Event("acc_0", MODEL, at(1), "note", "nobody's")])
    with pytest.raises((StatementError, ValueError), match="JSON"):
        store.events.add([line(account, "fine"), Event(account.id, MODEL, at(1), "note", "", data={"x": float("nan")})])

    assert store.events.list(None) == []


def test_prune_keeps_the_newest_of_each_cluster(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    store.events.add([line(account, f"a{n}") for n in range(4)])
    store.events.add(
        [line(account, "b0", model_id="org/other"), line(other, "c0"), line(other, "c1"), line(other, "c2")]
    )

    assert [store.events.prune_excess(2, limit=1) for _ in range(4)] == [1, 1, 1, 0]

    assert messages(store.events.list(None)) == ["a2", "a3", "b0", "c1", "c2"]


def test_prune_deletes_what_is_old(store: Store, account: Account) -> None:
    store.events.add([line(account, str(n), n) for n in range(4)])

    assert [store.events.prune_old(at(2), limit=1) for _ in range(3)] == [1, 1, 0]

    assert messages(store.events.list(None)) == ["2", "3"]


def test_a_pruned_id_is_never_given_again(store: Store, account: Account) -> None:
    store.events.add([line(account, "old")])
    [old] = store.events.list(account.id)
    store.events.prune_excess(0, limit=10)

    store.events.add([line(account, "new")])

    assert messages(store.events.list(account.id, after_id=old.id)) == ["new"]
