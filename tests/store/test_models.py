from dataclasses import replace
from typing import Any

from modelyard.records.models import Listing, Measurement
from modelyard.store import Store
from tests.store.samples import MODEL, at


def listing(model_id: str = MODEL, **fields: Any) -> Listing:
    """A model as its folder describes it."""
    given = {
        "task": "text-generation",
        "memory_bytes": 500,
        "memory_source": "estimated",
        "facts": {"weight_bytes": 400, "dtype": "F32"},
        **fields,
    }
    return Listing(model_id, "folder", at(1), **given)


def test_what_files_say_is_kept_whole(store: Store) -> None:
    full = replace(
        listing(parameters=2**41, architecture="GPT2LMHeadModel", license="mit"),
        revision="abc",
        variant_of="org/other",
        refusal="org/name has no weights.",
    )

    store.models.put([full])

    assert store.models.find(MODEL) == full


def test_what_files_say_now_replaces_what_they_said(store: Store) -> None:
    store.models.put([listing(license="mit")])
    changed = replace(listing(task="chat", memory_bytes=900, facts={"weight_bytes": 800}), updated_at=at(2))

    store.models.put([changed])

    assert store.models.find(MODEL) == changed


def test_a_measurement_stays_while_the_weights_do(store: Store) -> None:
    store.models.put([listing()])
    measured = store.models.measure(MODEL, memory_bytes=700, measured_at=at(2), load_ms=412)
    assert (measured.memory_bytes, measured.memory_source) == (700, "measured")
    assert measured.facts == {"weight_bytes": 400, "dtype": "F32", "load_ms": 412}

    store.models.put([replace(listing(task="chat"), updated_at=at(3))])

    assert store.models.find(MODEL) == replace(measured, task="chat", updated_at=at(3))


def test_other_weights_end_a_measurement(store: Store) -> None:
    store.models.put([listing()])
    store.models.measure(MODEL, memory_bytes=700, measured_at=at(2), load_ms=412)
    other = listing(memory_bytes=9000, facts={"weight_bytes": 8000})

    store.models.put([other])

    assert store.models.find(MODEL) == other
    assert store.models.measured() == {}


def test_a_measurement_without_known_weights_stays(store: Store) -> None:
    store.models.measure(MODEL, memory_bytes=700, measured_at=at(1), load_ms=412)

    store.models.put([listing()])

    found = store.models.find(MODEL)
    assert found is not None
    assert (found.source, found.memory_bytes, found.memory_source) == ("folder", 700, "measured")
    assert found.facts == {"weight_bytes": 400, "dtype": "F32", "load_ms": 412}


def test_a_model_measured_before_its_files_were_seen_is_a_requested_one(store: Store) -> None:
    put = store.models.measure(MODEL, memory_bytes=2**41, measured_at=at(1), load_ms=412)

    assert put == Listing(
        MODEL, "requested", at(1), memory_bytes=2**41, memory_source="measured", facts={"load_ms": 412}
    )
    assert store.models.find(MODEL) == put


def test_facts_are_merged_by_name(store: Store) -> None:
    store.models.measure(MODEL, memory_bytes=1, measured_at=at(1), kind="fill-mask", load_ms=412, error="too big")

    put = store.models.measure(MODEL, memory_bytes=2, measured_at=at(2), load_ms=300, error=None, batch={"knee": 8})

    assert put.facts == {"kind": "fill-mask", "load_ms": 300, "batch": {"knee": 8}}
    assert (put.memory_bytes, put.updated_at) == (2, at(2))
    assert store.models.find(MODEL) == put


def test_publishing_adds_and_changes_nothing(store: Store) -> None:
    store.models.put([listing()])
    published = listing("org/new", memory_source="published", memory_bytes=7)

    store.models.publish([published, listing(memory_source="published", memory_bytes=7)])

    assert store.models.page(limit=10) == [listing(), published]


def test_files_replace_what_was_published(store: Store) -> None:
    store.models.publish([listing(memory_source="published", memory_bytes=7)])

    store.models.put([listing()])

    assert store.models.find(MODEL) == listing()


def test_removed_models_are_unknown(store: Store) -> None:
    store.models.put([listing("org/one"), listing("org/two")])

    store.models.remove(["org/one", "org/none"])
    store.models.remove(["org/two"], source="hub")
    store.models.remove([])

    assert store.models.find("org/one") is None
    assert store.models.page(limit=10) == [listing("org/two")]
    store.models.remove(["org/two"], source="folder")
    assert store.models.page(limit=10) == []


def test_one_fact_of_every_model_of_a_source_is_got_at_once(store: Store) -> None:
    store.models.put([listing("org/one", facts={"stamp": "abc"}), listing("org/two")])
    store.models.measure("org/three", memory_bytes=1, measured_at=at(1), stamp="def")

    assert store.models.texts_of("folder", "stamp") == {"org/one": "abc", "org/two": None}
    assert store.models.texts_of("hub", "stamp") == {}


def test_several_are_got_at_once(store: Store) -> None:
    store.models.put([listing("org/one"), listing("org/two"), listing("org/three")])

    assert store.models.get_many(["org/two", "org/none", "org/one"]) == {
        "org/one": listing("org/one"),
        "org/two": listing("org/two"),
    }
    assert store.models.get_many([]) == {}


def test_measurements_are_told_with_the_weights_they_were_made_with(store: Store) -> None:
    store.models.put([listing("org/one"), listing("org/two")])
    store.models.measure("org/one", memory_bytes=1, measured_at=at(2))
    store.models.measure("org/three", memory_bytes=3, measured_at=at(2))

    assert store.models.measured() == {"org/one": Measurement(1, 400), "org/three": Measurement(3)}


def test_models_are_paged_in_order_of_code_points(store: Store) -> None:
    names = ["a/a", "org/x", "Org/B", "org/X-2", "org/é", "org/x-1"]
    store.models.put([listing(name) for name in names])
    seen: list[str] = []

    while page := store.models.page(limit=4, after=seen[-1] if seen else None):
        seen += [each.model_id for each in page]

    assert seen == sorted(names)


def test_more_models_than_one_transaction_takes_are_put_and_paged(store: Store) -> None:
    names = [f"org/model-{number:04}" for number in range(2100)]
    store.models.put([listing(name) for name in names])
    store.models.put([listing(name, task="chat") for name in names])

    assert [each.model_id for each in store.models.page(task="chat", limit=3000)] == names
    store.models.remove(names[1:])
    assert store.models.page(limit=3000) == [listing(names[0], task="chat")]


def test_pages_are_narrowed_by_task_text_variants_and_refusals(store: Store) -> None:
    store.models.put(
        [
            listing("Org/Chatty_7B", task="chat"),
            listing("org/chattyx7b", task="chat"),
            listing("org/100%", refusal="no weights", memory_bytes=499),
            listing("org/base", license="mit"),
            listing("org/base.onnx", variant_of="org/base", facts={"library": "onnx"}),
        ]
    )

    def ids(**narrow: Any) -> list[str]:
        return [each.model_id for each in store.models.page(limit=10, **narrow)]

    assert ids(task="chat") == ["Org/Chatty_7B", "org/chattyx7b"]
    assert ids(task="chat", after="Org/Chatty_7B") == ["org/chattyx7b"]
    assert ids(task="none") == []
    assert ids(text="CHATTY") == ["Org/Chatty_7B", "org/chattyx7b"]
    assert ids(text="y_7") == ["Org/Chatty_7B"]
    assert ids(text="%") == ["org/100%"]
    assert ids(text="org/base", task="text-generation") == ["org/base", "org/base.onnx"]
    assert ids(text="\0") == []
    assert ids(variant_of="org/base") == ["org/base.onnx"]
    assert ids(variant_of="org/none") == []
    assert ids(license="mit") == ["org/base"]
    assert ids(libraries=["onnx", "gguf"]) == ["org/base.onnx"]
    assert ids(most_bytes=499) == ["org/100%"]
    assert ids(sources=["hub"]) == []
    assert len(ids(sources=["hub", "folder"])) == 5
    store.models.publish([replace(listing("org/abroad"), source="published")])
    store.models.publish([replace(listing("provider/abroad"), source="provider")])
    store.models.measure("org/measured", memory_bytes=600, measured_at=at(1))
    assert ids(here=False) == ["org/abroad", "provider/abroad"]
    assert sorted(ids(here=True) + ids(here=False)) == ids()
    assert "org/measured" in ids(here=True)
    store.models.remove(["org/abroad", "provider/abroad", "org/measured"])
    assert "org/100%" not in ids(servable=True)
    assert len(ids(servable=True)) == 4


def test_variants_are_told_by_their_model(store: Store) -> None:
    store.models.put([listing("org/base"), listing("org/other")])
    assert store.models.variants("org/base", "org/other") == {}

    store.models.put([listing(f"org/base.{kind}", variant_of="org/base") for kind in ("onnx.8-bit", "onnx")])
    store.models.put([listing("org/z.onnx", variant_of="org/z")])

    assert store.models.variants("org/base", "org/other") == {"org/base": ["org/base.onnx", "org/base.onnx.8-bit"]}
    assert store.models.variants("org/c", "org/d") == {}


def test_servable_models_are_counted_by_source(store: Store) -> None:
    store.models.put([listing("org/one"), listing("org/two"), listing("org/broken", refusal="no weights")])
    store.models.measure("org/three", memory_bytes=1, measured_at=at(1))

    assert store.models.count(["folder"]) == 2
    assert store.models.count(["folder", "requested"]) == 3
    assert store.models.count(["hub"]) == 0


def test_what_a_model_held_on_a_device_is_part_of_its_measurement(store: Store) -> None:
    store.models.put([listing("org/one")])
    store.models.measure("org/one", memory_bytes=1, measured_at=at(2), max_batch=8, device_bytes=5)

    assert store.models.measured() == {"org/one": Measurement(1, 400, 8, 5)}
