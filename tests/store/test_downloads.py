from dataclasses import replace

import pytest

from modelyard.errors import NotFound
from modelyard.records.accounts import Account
from modelyard.records.downloads import DownloadRecord
from modelyard.records.jobs import JobState
from modelyard.records.models import Listing
from modelyard.store import Store
from tests.store.samples import CAPACITY, MODEL, SERVER, at, life


def record(account: Account, model_id: str = MODEL) -> DownloadRecord:
    return DownloadRecord(model_id, account.id, "mark", 3 * 2**40, 5, at(10))


def test_the_newest_download_of_a_model_is_kept(store: Store, account: Account) -> None:
    other = store.accounts.create("grace", at(0))
    first, second = record(account), record(other, "org/other")
    store.downloads.put(first)
    store.downloads.put(second)
    assert store.downloads.list() == [first, second]

    later = replace(first, account_id=other.id, mark="other", size_bytes=1, others_bytes=0, used_at=at(20))
    store.downloads.put(later)

    assert store.downloads.list() == [later, second]


def test_a_download_is_for_an_account_that_there_is(store: Store, account: Account) -> None:
    with pytest.raises(NotFound):
        store.downloads.put(replace(record(account), account_id="acc_none"))


def test_the_begin_and_the_end_of_an_instance_are_uses(store: Store, account: Account) -> None:
    store.downloads.put(record(account))
    store.downloads.put(record(account, "org/other"))
    instance = life(account, 30)

    def used() -> list[object]:
        return [each.used_at for each in store.downloads.list()]

    store.instances.open(instance)
    assert used() == [at(30), at(10)]
    store.instances.open(life(account, 20))
    assert used() == [at(30), at(10)], "never moved back"
    store.instances.end(instance.id, at(40), "idle")
    assert used() == [at(40), at(10)]
    assert not store.instances.end(instance.id, at(50), "again")
    assert used() == [at(40), at(10)]


def test_who_uses_a_model_is_told_in_the_order_of_clusters_jobs_and_instances(store: Store, account: Account) -> None:
    second, third = (store.accounts.create(name, at(0)) for name in ("grace", "alan"))
    assert store.downloads.list_users() == {}

    store.instances.open(life(third))
    ended = life(third, model_id="org/ended")
    store.instances.open(ended)
    store.instances.end(ended.id, at(1), "idle")
    store.clusters.put(second.id, MODEL, CAPACITY, 60, at(2))
    store.clusters.put(account.id, MODEL, CAPACITY, 60, at(1))
    store.jobs.ask(MODEL, account.id, at(3))
    store.jobs.ask("org/made.onnx.8-bit", third.id, at(3))

    assert store.downloads.list_users() == {
        MODEL: [account.id, second.id, third.id],
        "org/made.onnx.8-bit": [third.id],
        "org/made": [third.id],
    }
    store.jobs.claim(SERVER, at(4))
    store.jobs.claim(SERVER, at(4))
    store.jobs.move("org/made.onnx.8-bit", JobState.DONE, "there", at(5))

    assert set(store.downloads.list_users()) == {MODEL}


def test_who_uses_an_adapter_uses_its_base(store: Store, account: Account) -> None:
    base = {"base": "org/base", "type": "LORA", "rank": 8, "targetModules": []}
    adapter = Listing("org/tuned", "hub", at(1), facts={"adapter": base})
    store.models.put([adapter, Listing("org/whole", "hub", at(1), facts={"adapter": None})])
    store.clusters.put(account.id, "org/whole", CAPACITY, 60, at(1))
    assert store.downloads.list_users() == {"org/whole": [account.id]}

    store.clusters.put(account.id, "org/tuned", CAPACITY, 60, at(2))

    assert store.downloads.list_users() == {each: [account.id] for each in ("org/whole", "org/tuned", "org/base")}
