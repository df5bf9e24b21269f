"""Any sequence of calls leaves what a plain dictionary would hold."""

from typing import Any
from uuid import uuid4

from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.records.clusters import Capacity
from modelyard.store import Store
from tests.properties import examples
from tests.store.samples import at, life

model_ids = st.sampled_from(["org/a", "org/b"])
reasons = st.sampled_from(["idle", "", "out of memory\0", "🧵"])
seconds = st.integers(-1000, 1000)
capacities = st.tuples(*[st.integers(0, 3)] * 3).map(lambda bounds: Capacity(*sorted(bounds)))
calls = st.one_of(
    st.tuples(st.just("put"), model_ids, capacities, st.integers(0, 2**31 - 1)),
    st.tuples(st.just("disable"), model_ids),
    st.tuples(st.just("count"), model_ids, st.integers(0, 2**40), seconds),
    st.tuples(st.just("delete"), model_ids),
)


@examples(15)  # on one store: each takes an account of its own
@given(st.lists(calls, max_size=12))
def test_clusters_end_as_the_calls_say(store: Store, steps: list[tuple[Any, ...]]) -> None:
    account = store.accounts.create(uuid4().hex, at(0))
    expected: dict[str, tuple[Any, ...]] = {}

    for step in steps:
        found = store.clusters.find(account.id, step[1])
        assert (found is None) == (step[1] not in expected)
        match step:
            case ("put", model_id, capacity, timeout_s):
                _, created = store.clusters.put(account.id, model_id, capacity, timeout_s, at(0))
                assert created == (model_id not in expected)
                _, _, _, count, last = expected.get(model_id, (None, None, None, 0, None))
                expected[model_id] = (capacity, timeout_s, True, count, last)
            case ("disable", model_id) if found:
                store.clusters.update(found.id, enabled=False, now=at(0))
                capacity, timeout_s, _, count, last = expected[model_id]
                expected[model_id] = (capacity, timeout_s, False, count, last)
            case ("count", model_id, more, when) if found:
                store.clusters.add_inferences({found.id: (more, at(when))})
                capacity, timeout_s, enabled, count, last = expected[model_id]
                latest = at(when) if last is None else max(last, at(when))
                expected[model_id] = (capacity, timeout_s, enabled, count + more, latest)
            case ("delete", model_id) if found:
                assert store.clusters.delete(found.id)
                del expected[model_id]

    assert {
        cluster.model_id: (
            cluster.capacity,
            cluster.timeout_s,
            cluster.enabled,
            cluster.inferences,
            cluster.last_inference_at,
        )
        for cluster in store.clusters.list(account.id)
    } == expected


@example(ends=[(-2, "idle")], ready=-1)
@examples(15)  # on one store: each takes an account of its own
@given(ends=st.lists(st.tuples(seconds, reasons), min_size=1, max_size=5), ready=st.none() | seconds)
def test_a_life_ends_once_whatever_is_said_later(store: Store, ends: list[tuple[int, str]], ready: int | None) -> None:
    account = store.accounts.create(uuid4().hex, at(0))
    instance = life(account)
    store.instances.open(instance)
    if ready is not None:
        store.instances.update(instance.id, ready_at=at(ready))

    assert [store.instances.end(instance.id, at(end), reason) for end, reason in ends] == [True] + [False] * (
        len(ends) - 1
    )

    [ended] = store.instances.list(account.id)
    first_end, first_reason = ends[0]
    assert ended.ended_at == at(max(0, first_end, 0 if ready is None else ready))
    assert ended.end_reason == first_reason.replace("\0", "�")
