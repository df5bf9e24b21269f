"""What may be removed from a server's disk, and what the audit log is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from modelyard.accounts.cache_administration import CacheAdministration
from modelyard.catalog.hub_cache import HubCache
from modelyard.errors import InvalidRequest
from modelyard.records.audit import Actor, AuditQuery
from modelyard.records.instances import Instance
from modelyard.store.store import Store
from tests.clock import HandClock

OPERATOR = Actor("command", "root")


@pytest.fixture
def store(own_database: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{own_database}") as opened:
        yield opened


@pytest.fixture
def cache(store: Store, tmp_path: Path) -> CacheAdministration:
    """Of two models of the hub, of which an instance uses the second."""
    clock, hub = HandClock(), tmp_path / "hub"
    for number, model_id in enumerate(("org/idle", "org/used"), 1):
        blobs = HubCache(hub).folder(model_id) / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "file").write_bytes(b"x" * 100 * number)
    owner = store.accounts.create("ada", clock.now())
    begun = clock.now() - timedelta(seconds=5)
    store.instances.open(Instance("in_1", "cl_1", owner.id, "org/used", "node", 1, begun, clock.now()))
    return CacheAdministration(store, clock, hub, tmp_path, OPERATOR)


def test_what_is_there_is_listed_with_what_is_in_use(cache: CacheAdministration) -> None:
    assert [(each.model_id, each.size_bytes, each.in_use) for each in cache.list()] == [
        ("org/idle", 100, False),
        ("org/used", 200, True),
    ]


def test_a_model_that_nobody_uses_is_removed_and_told(cache: CacheAdministration, store: Store) -> None:
    assert [each.model_id for each in cache.remove(["org/idle"])] == ["org/idle"]
    assert [each.model_id for each in cache.list()] == ["org/used"]
    (line,) = store.audit.list(AuditQuery(action="cache"))
    assert (line.actor, line.subject, line.before) == (OPERATOR, "org/idle", {"kind": "hub", "size_bytes": 100})


@pytest.mark.parametrize(("models", "words"), [(["org/used"], "in use"), (["org/idle", "org/none"], "org/none")])
def test_where_one_must_stay_none_is_removed(
    cache: CacheAdministration, store: Store, models: list[str], words: str
) -> None:
    with pytest.raises(InvalidRequest, match=words):
        cache.remove(models)
    assert len(cache.list()) == 2
    assert store.audit.list(AuditQuery()) == []


def test_pruning_leaves_what_is_in_use_and_says_first_what_it_would_remove(cache: CacheAdministration) -> None:
    assert [each.model_id for each in cache.prune(older_than_days=None, to_bytes=0, dry_run=True)] == ["org/idle"]
    assert len(cache.list()) == 2
    assert [each.model_id for each in cache.prune(older_than_days=None, to_bytes=0)] == ["org/idle"]
    assert [each.model_id for each in cache.list()] == ["org/used"]
    with pytest.raises(InvalidRequest, match="Nothing to remove"):
        cache.prune(older_than_days=None, to_bytes=None)
