import pytest

from modelyard.errors import NotFound
from modelyard.store import ModelFacts, Store
from tests.store.samples import MODEL, at


def test_a_measurement_is_remembered(store: Store) -> None:
    put = store.models.put(MODEL, memory_bytes=2**41, measured_at=at(1), task="text-generation", load_ms=412)

    assert put == ModelFacts(MODEL, 2**41, at(1), {"task": "text-generation", "load_ms": 412})
    assert store.models.get(MODEL) == put
    assert store.models.find(MODEL) == put


def test_facts_are_merged_by_name(store: Store) -> None:
    store.models.put(MODEL, memory_bytes=1, measured_at=at(1), task="fill-mask", load_ms=412, error="too big")

    put = store.models.put(MODEL, memory_bytes=2, measured_at=at(2), load_ms=300, error=None, batch={"knee": 8})

    assert put == ModelFacts(MODEL, 2, at(2), {"task": "fill-mask", "load_ms": 300, "batch": {"knee": 8}})
    assert store.models.get(MODEL) == put


def test_a_model_never_measured_is_unknown(store: Store) -> None:
    assert store.models.find(MODEL) is None
    with pytest.raises(NotFound, match=MODEL):
        store.models.get(MODEL)


def test_several_are_got_at_once(store: Store) -> None:
    one, two = (store.models.put(name, memory_bytes=1, measured_at=at(1)) for name in ("org/one", "org/two"))

    assert store.models.get_many(["org/two", "org/none", "org/one"]) == {"org/one": one, "org/two": two}
    assert store.models.get_many([]) == {}


def test_models_are_paged_in_order_of_code_points(store: Store) -> None:
    names = ["a/a", "org/x", "Org/B", "org/X-2", "org/é", "org/x-1"]
    for name in names:
        store.models.put(name, memory_bytes=1, measured_at=at(1))
    seen: list[str] = []

    while page := store.models.list(limit=4, after=seen[-1] if seen else None):
        seen += [facts.model_id for facts in page]

    assert seen == sorted(names)
