from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from modelyard.errors import NotFound, UnknownCluster
from modelyard.records.accounts import Account
from modelyard.records.clusters import Capacity
from modelyard.store import Store, clusters
from tests.store.samples import CAPACITY, MODEL, at, life, line


def test_put_makes_an_enabled_cluster(store: Store, account: Account) -> None:
    cluster, created = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))

    assert created
    assert cluster.id.startswith("cl_")
    assert (cluster.account_id, cluster.model_id) == (account.id, MODEL)
    assert (cluster.capacity, cluster.timeout_s, cluster.enabled) == (CAPACITY, 60, True)
    assert (cluster.created_at, cluster.modified_at) == (at(1), at(1))
    assert (cluster.inferences, cluster.last_inference_at) == (0, None)
    assert store.clusters.get(cluster.id) == cluster
    assert store.clusters.find(account.id, MODEL) == cluster


def test_put_again_changes_what_was_asked_and_nothing_else(store: Store, account: Account) -> None:
    first, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))
    store.clusters.add_inferences({first.id: (7, at(2))})

    second, created = store.clusters.put(account.id, MODEL, Capacity(1, 2, 3), 90, at(3))

    assert not created
    assert second == replace(
        first,
        capacity=Capacity(1, 2, 3),
        timeout_s=90,
        modified_at=at(3),
        inferences=7,
        last_inference_at=at(2),
    )


def test_put_enables_a_disabled_cluster(store: Store, account: Account) -> None:
    cluster, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))
    store.clusters.update(cluster.id, enabled=False, now=at(2))

    again, created = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(3))

    assert (again.id, again.enabled, created) == (cluster.id, True, False)


def test_accounts_have_their_own_clusters_of_one_model(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    mine, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(2))
    theirs, created = store.clusters.put(other.id, MODEL, CAPACITY, 60, at(1))

    assert created
    assert store.clusters.list(account.id) == [mine]
    assert store.clusters.list() == [theirs, mine]


def test_put_needs_an_account(store: Store) -> None:
    with pytest.raises(NotFound, match="account"):
        store.clusters.put("acc_0", MODEL, CAPACITY, 60, at(1))


def test_capacity_out_of_order_is_never_stored(store: Store, account: Account) -> None:
    with pytest.raises(IntegrityError):
        store.clusters.put(account.id, MODEL, Capacity(min=2, desired=1, max=3), 60, at(1))

    assert store.clusters.list() == []


def test_update_changes_only_what_is_given(store: Store, account: Account) -> None:
    cluster, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))

    disabled = store.clusters.update(cluster.id, enabled=False, now=at(2))
    assert disabled == replace(cluster, enabled=False, modified_at=at(2))

    patient = store.clusters.update(cluster.id, timeout_s=0, capacity=Capacity(0, 0, 0), now=at(3))
    assert patient == replace(disabled, timeout_s=0, capacity=Capacity(0, 0, 0), modified_at=at(3))
    assert store.clusters.get(cluster.id) == patient


def test_unknown_cluster(store: Store, account: Account) -> None:
    assert store.clusters.find(account.id, MODEL) is None
    assert store.clusters.update("cl_0", timeout_s=1, now=at(1)) is None
    assert not store.clusters.delete("cl_0")
    with pytest.raises(UnknownCluster, match="cl_0"):
        store.clusters.get("cl_0")


def test_delete_leaves_the_ledger_and_the_log(store: Store, account: Account) -> None:
    cluster, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))
    instance = replace(life(account), cluster_id=cluster.id)
    store.instances.open(instance)
    store.events.add([line(account, "booting")])

    assert store.clusters.delete(cluster.id)

    assert not store.clusters.delete(cluster.id)
    assert store.clusters.find(account.id, MODEL) is None
    assert store.instances.list(account.id) == [instance]
    assert [event.message for event in store.events.list(account.id)] == ["booting"]


def test_inferences_add_up_and_the_latest_moment_stays(store: Store, account: Account) -> None:
    one, _ = store.clusters.put(account.id, "org/one", CAPACITY, 60, at(0))
    two, _ = store.clusters.put(account.id, "org/two", CAPACITY, 60, at(0))

    store.clusters.add_inferences({one.id: (2, at(9)), two.id: (3_000_000_000, at(5)), "cl_gone": (1, at(1))})
    store.clusters.add_inferences({one.id: (1, at(4))})
    store.clusters.add_inferences({})

    assert store.clusters.get(one.id) == replace(one, inferences=3, last_inference_at=at(9))
    assert store.clusters.get(two.id) == replace(two, inferences=3_000_000_000, last_inference_at=at(5))


def test_nothing_has_changed_in_a_new_store(store: Store) -> None:
    assert store.clusters.find_changed(0) is None


def test_every_change_is_told_once(store: Store, account: Account) -> None:
    one, _ = store.clusters.put(account.id, "org/one", CAPACITY, 60, at(1))
    two, _ = store.clusters.put(account.id, "org/two", CAPACITY, 60, at(2))

    first = store.clusters.find_changed(0)
    assert first is not None
    assert (first.changed, first.deleted) == ([one, two], [])
    assert store.clusters.find_changed(first.version) is None

    changed = store.clusters.update(two.id, enabled=False, now=at(3))
    second = store.clusters.find_changed(first.version)
    assert second is not None
    assert (second.changed, second.deleted) == ([changed], [])
    assert second.version > first.version
    assert store.clusters.find_changed(second.version) is None


def test_a_deletion_is_told_once(store: Store, account: Account) -> None:
    one, _ = store.clusters.put(account.id, "org/one", CAPACITY, 60, at(1))
    two, _ = store.clusters.put(account.id, "org/two", CAPACITY, 60, at(2))

    assert store.clusters.delete(one.id)
    assert not store.clusters.delete("cl_nobody")

    after = store.clusters.find_changed(two.version)
    assert after is not None
    assert (after.changed, after.deleted, after.ids) == ([], [one.id], None)
    assert store.clusters.find_changed(after.version) is None


def test_who_has_not_looked_for_long_is_told_what_is_left(
    store: Store, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "KEPT_DELETIONS", 3)
    made = [store.clusters.put(account.id, f"org/{n}", CAPACITY, 60, at(n))[0] for n in range(5)]
    for cluster in made[:4]:
        store.clusters.delete(cluster.id)

    long_ago = store.clusters.find_changed(made[0].version)
    lately = store.clusters.find_changed(made[4].version + 1)
    assert long_ago is not None
    assert lately is not None
    assert (long_ago.changed, long_ago.ids) == ([made[4]], {made[4].id})
    assert (sorted(lately.deleted), lately.ids) == (sorted(each.id for each in made[1:4]), None)


def test_who_has_seen_more_than_this_database_has_is_told_all_there_is(store: Store, account: Account) -> None:
    one, _ = store.clusters.put(account.id, "org/one", CAPACITY, 60, at(1))
    two, _ = store.clusters.put(account.id, "org/two", CAPACITY, 60, at(2))
    for since in (-1, two.version + 1):
        found = store.clusters.find_changed(since)
        assert found is not None
        assert (found.version, found.changed, found.ids) == (two.version, [one, two], {one.id, two.id})


def test_counts_are_no_change(store: Store, account: Account) -> None:
    cluster, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))

    store.clusters.add_inferences({cluster.id: (5, at(2))})

    assert store.clusters.find_changed(cluster.version) is None
    assert store.clusters.get(cluster.id).version == cluster.version


def test_only_what_wakes_a_cluster_moves_its_wake_version(store: Store, account: Account) -> None:
    put, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))
    assert put.wake_version == put.version

    quiet = store.clusters.update(put.id, timeout_s=90, wake=False, now=at(2))
    assert quiet is not None
    assert (quiet.version > put.version, quiet.wake_version) == (True, put.wake_version)

    woken = store.clusters.update(put.id, capacity=CAPACITY, now=at(3))
    assert woken is not None
    assert woken.wake_version == woken.version > quiet.version

    again, _ = store.clusters.put(account.id, MODEL, CAPACITY, 60, at(4))
    assert again.wake_version == again.version > woken.version
