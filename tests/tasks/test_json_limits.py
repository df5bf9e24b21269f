"""How much JSON a request may hold: counted exactly where it matters, never by building it."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.errors import BodyTooLarge, MalformedBody, shorten
from modelyard.tasks.body import decode_object
from modelyard.tasks.json_limits import MAX_BYTES, MAX_DEPTH, MAX_ELEMENTS, check, count_separators

MOST = MAX_ELEMENTS - 10


@pytest.mark.parametrize("element", ["[]", "{}", "1", '""', '"a,b:[{"', "null", '{"a":1}', '"\\\\"', '"\\","'])
def test_elements_are_bounded_whatever_they_are(element: str) -> None:
    few = f'{{"text": [{",".join([element] * (MOST // 3))}]}}'.encode()
    assert len(decode_object(few)["text"]) == MOST // 3
    many = f'{{"text": [{",".join([element] * (2 * MAX_ELEMENTS))}]}}'.encode()
    with pytest.raises(BodyTooLarge, match="values and keys"):
        decode_object(many)


@pytest.mark.parametrize("raw", [b'"' * 900_000, b'""' * 400_000, b'"\\' * 400_000, b"," * 400_000, b"[" * 400_000])
def test_what_is_no_json_is_counted_too(raw: bytes) -> None:
    with pytest.raises((BodyTooLarge, MalformedBody)):
        decode_object(raw)


def test_separators_in_texts_do_not_count() -> None:
    text = '{"a": [1, 2, 3]}, ' * 100_000
    assert decode_object(json.dumps({"text": text}).encode()) == {"text": text}


def test_text_is_bounded() -> None:
    with pytest.raises(BodyTooLarge, match="beside media"):
        check(b" " * (MAX_BYTES + 1))


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"

    assert decode_object(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 500, 100_000):
        with pytest.raises((MalformedBody, BodyTooLarge)):
            decode_object(nested(depth))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=200) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=9), inner, max_size=8),
    max_leaves=20,
)


def beginnings(value: Any) -> Any:
    """The same with of each text no more than can be shown, which alone says how that is quoted."""
    match value:
        case str():
            return value[:81]
        case list():
            return [beginnings(each) for each in value]
        case dict():
            return {name: beginnings(each) for name, each in value.items()}
    return value


@example("a" * 81 + "'")
@example(["'" + "a" * 81 + '"'])
@given(plain)
def test_a_value_is_shown_as_its_repr_cut_short(value: Any) -> None:
    whole = "null" if value is None else repr(beginnings(value))
    assert shorten(value) == (whole if len(whole) <= 80 else whole[:79] + "…")


def test_showing_a_value_does_not_look_at_all_of_it() -> None:
    class Watched(list[Any]):
        seen = 0

        def __iter__(self) -> Any:
            for each in super().__iter__():
                Watched.seen += 1
                yield each

    assert shorten(Watched(range(10_000_000 // 1000))).endswith("…")
    assert Watched.seen < 100
    assert len(shorten(10**4000)) <= 80


@given(plain)
def test_every_element_is_counted(value: Any) -> None:
    raw = msgspec.json.encode({"a": value})
    assert count_separators(raw) >= 1
    check(raw)
