"""Forms that strangers wrote: what would take a replica minutes, all its memory or its life is refused at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from modelyard.errors import InvalidRequest
from modelyard.tasks.shared.generation_params import TextForm
from modelyard.worker.runtimes.grammar_limits import MOST_LEVELS, MOST_RULES, common_multiple, count_levels
from modelyard.worker.runtimes.grammar_text import FormCheck, write_grammar

MOST_S = 5.0
"""Of CPU time, several times what the largest form takes that is accepted."""


def chain(levels: int, **more: Any) -> dict[str, Any]:
    """A schema of so many parts, each of which refers to the next."""
    parts = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}", **more} for n in range(levels)}
    return {"$defs": {**parts, f"a{levels}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def nested_chain(parts: int) -> dict[str, Any]:
    """The same, each inside an array inside an array."""
    schema = chain(parts)
    for name, part in schema["$defs"].items():
        if "$ref" in part:
            schema["$defs"][name] = {"type": "array", "items": {"type": "array", "items": part}}
    return schema


def rules(count: int) -> str:
    return "root ::= a0\n" + "".join(f"a{n} ::= a{n + 1}\n" for n in range(count)) + f'a{count} ::= "a"'


def doubled(times: int) -> str:
    return "root ::= a0\n" + "".join(f"a{n} ::= a{n + 1} a{n + 1}\n" for n in range(times)) + f"a{times} ::= [a-c]?"


def multiples(*numbers: float) -> dict[str, Any]:
    return {"allOf": [{"type": "number", "multipleOf": number} for number in numbers]}


HOSTILE: Mapping[str, dict[str, Any]] = {
    "references": {"json_schema": chain(2_500)},
    "references in arrays": {"json_schema": nested_chain(900)},
    "alternatives": {"json_schema": {"anyOf": [{"$ref": f"#/anyOf/{n + 1}/items"} for n in range(1_500)]}},
    "multiples": {"json_schema": {"type": "integer", "multipleOf": 123_456_789}},
    "multiples together": {"json_schema": multiples(997, 991)},
    "small multiples": {"json_schema": multiples(0.0997, 0.0991)},
    "properties": {"json_schema": {"properties": {f"p{n}": {"type": "string"} for n in range(3_000)}}},
    "a fault behind much": {
        "json_schema": {
            "$defs": {"a": {"properties": {f"p{n}": {"type": "string"} for n in range(900)}}},
            "anyOf": [{"$ref": "#/$defs/a"}] * 150 + [{"type": "nothing"}],
        }
    },
    "characters": {"json_schema": {"enum": ["a" * 50_000, "b" * 50_000]}},
    "rules": {"grammar": rules(5_000)},
    "groups": {"grammar": "root ::= " + '("a" | ' * 1_200 + '"b"' + ")" * 1_200},
    "copies": {"grammar": doubled(16)},
    "copies of copies": {"grammar": doubled(MOST_RULES - 2)},
    "optional characters": {"regex": "[ab]?" * 20_000},
    "another notation": {"grammar": "start: TEXT\nTEXT: /a/ & ~/b/"},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_form_that_would_take_too_much_is_refused_by_its_field_at_once(name: str) -> None:
    form = TextForm(**HOSTILE[name])
    begun = time.thread_time()
    with pytest.raises(InvalidRequest) as refused:
        write_grammar(form)
    assert time.thread_time() - begun < MOST_S
    assert form.field in refused.value.message
    assert len(refused.value.message) < 1_000


LARGE: Mapping[str, dict[str, Any]] = {
    "references": {"json_schema": chain(MOST_LEVELS // 2 - 10)},
    "a recursive schema": {"json_schema": {"type": "array", "items": {"$ref": "#"}}},
    "properties": {"json_schema": {"properties": {f"p{n}": {"type": "string"} for n in range(1_000)}}},
    "multiples": {"json_schema": {"properties": {"a": {"multipleOf": 0.01}, "b": {"multipleOf": 1e6}}}},
    "rules": {"grammar": rules(MOST_RULES - 2)},
    "optional characters": {"regex": "[ab]?" * 5_000},
    "words": {"json_schema": {"enum": [f"word number {n}" for n in range(2_000)]}},
    "repetitions": {"regex": "((a{1,1000}){1,1000}){1,1000}"},
}


@pytest.mark.parametrize("name", LARGE)
def test_a_form_just_within_the_bounds_is_followed(name: str) -> None:
    form = TextForm(**LARGE[name])
    begun = time.thread_time()
    FormCheck(form, write_grammar(form)).take("")
    assert time.thread_time() - begun < MOST_S


def test_levels_are_a_schemas_own_and_those_of_what_it_refers_to_once() -> None:
    assert count_levels({"type": "string"}) == 1
    assert count_levels({"items": {"items": {}}}) == 3
    part = {"$ref": "#/$defs/a"}
    assert count_levels({"anyOf": [part, part], "$defs": {"a": {"items": {}}}}) == 4 + 1 + 2
    assert count_levels({"anyOf": [{"items": {}}, {"$ref": "#/anyOf/0"}]}) == 4 + 1 + 2
    assert count_levels({"$ref": "#/nowhere"}) == 1 + 1 + 1


@pytest.mark.parametrize(
    ("numbers", "multiple"), [((5,), 5), ((0.01, 100, 1e9), 1), ((4, 6), 12), ((0.25, 7), 175), ((1000, 0.003), 3)]
)
def test_numbers_that_something_is_a_multiple_of_count_together(numbers: tuple[float, ...], multiple: int) -> None:
    assert common_multiple(multiples(*numbers)) == multiple
