"""Settings of texts that nobody would write by hand: forms, functions, biases, as clients of each API send them.

Only draws: a hypothesis strategy for each field of a body that holds such a thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from hypothesis import strategies as st

REGEX_LETTERS = "ab.|()*+?{}[]^$\\-,&~/1209 dwWp\n\0é"
GRAMMAR_PARTS = ("root", "a", "b", " ::= ", " | ", '"a"', "[a-c]", "(", ")", "*", "+", "?", "{1,3}", "{9999}", "\n",
                 ".", "#", '"\\x00"', "%json {}", "start: ")  # fmt: skip
WORDS = ("a", "b", "%", "/", "~", "é", "", "\0")
TYPES = ("string", "integer", "number", "boolean", "null", "object", "array", "nothing")
FORMATS = ("date-time", "date", "time", "duration", "email", "uuid", "ipv4", "ipv6", "uri", "hostname", "unknown")
BOUNDS = st.one_of(st.integers(-3, 5), st.sampled_from([10**4, 10**9, 2**63 - 1, -(2**63), 0.1, 1e-300, 1e300]))
REFERENCES = ("#", "#/$defs/a", "#/$defs/b", "#/properties/a", "#/items", "#/nowhere", "https://example.org/a", "")

regexes = st.one_of(
    st.text(REGEX_LETTERS, min_size=1, max_size=60),
    st.builds(lambda part, times: part * times, st.text(REGEX_LETTERS, min_size=1, max_size=6), st.integers(1, 15_000)),
    st.builds(lambda part, low, more: f"({part}){{{low},{low + more}}}", st.text("ab?*|", min_size=1, max_size=8),
              st.integers(0, 10**6), st.integers(0, 10**6)),
)  # fmt: skip


def numbered_rules(count: int, body: str) -> str:
    """So many rules, each of which is made of the next."""
    lines = [f"a{n} ::= {body.replace('next', f'a{n + 1}')}" for n in range(count)]
    return "\n".join(["root ::= a0", *lines, f'a{count} ::= "x"'])


grammars = st.one_of(
    st.lists(st.sampled_from(GRAMMAR_PARTS), min_size=1, max_size=60).map("".join),
    st.lists(st.sampled_from(GRAMMAR_PARTS), max_size=30).map(lambda parts: "root ::= " + "".join(parts)),
    st.builds(numbered_rules, st.integers(1, 4_000), st.sampled_from(["next", "next next", "next | next", '"(" next'])),
)


def numbered_definitions(count: int, part: Mapping[str, Any]) -> dict[str, Any]:
    """So many definitions, each of which is the next with `part` around it."""
    definitions = {
        f"a{n}": {key: {"$ref": f"#/$defs/a{n + 1}"} if value is None else value for key, value in part.items()}
        for n in range(count)
    }
    return {"$defs": {**definitions, f"a{count}": {"type": "string"}}, "$ref": "#/$defs/a0"}


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A schema around others."""
    several = st.lists(inner, max_size=4)
    named = st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES), "properties": named, "$defs": named, "patternProperties": named,
            "required": st.lists(st.sampled_from(WORDS), max_size=3), "additionalProperties": inner | st.booleans(),
            "items": inner, "prefixItems": several, "anyOf": several, "allOf": several, "oneOf": several, "not": inner,
            "minItems": BOUNDS, "maxItems": BOUNDS, "minLength": BOUNDS, "maxLength": BOUNDS, "minimum": BOUNDS,
            "maximum": BOUNDS, "exclusiveMinimum": BOUNDS, "multipleOf": BOUNDS, "pattern": regexes,
            "format": st.sampled_from(FORMATS), "$ref": st.sampled_from(REFERENCES),
            "enum": st.lists(BOUNDS | st.text(max_size=3), max_size=4), "const": BOUNDS,
        },
    )  # fmt: skip


schemas = st.one_of(
    st.recursive(st.just({}) | st.fixed_dictionaries({"type": st.sampled_from(TYPES)}), keywords, max_leaves=12).filter(
        lambda schema: isinstance(schema, dict)
    ),
    st.builds(
        numbered_definitions,
        st.integers(1, 3_000),
        st.sampled_from([{"$ref": None}, {"items": None}, {"properties": {"a": None}}, {"not": None}]),
    ),
    st.builds(lambda count: {"properties": {f"p{n}": {"type": "string"} for n in range(count)}}, st.integers(1, 5_000)),
)


SMALL: Mapping[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
names = st.text(min_size=0, max_size=20) | st.sampled_from(["f", "a\0b", "{{ a }}", "m" * 100_000])
arguments = st.sampled_from(["{}", "", "[" * 50_000, "1" * 5_000, '{"a":']) | st.text(max_size=20)
stops = st.text(max_size=5) | st.lists(st.text(max_size=3), max_size=20) | st.just("s" * 500_000)
biases = st.dictionaries(st.integers(-5, 2_000).map(str) | st.just("1" * 5_000), st.floats(-200, 200), max_size=20)
logprobs = st.fixed_dictionaries({"logprobs": st.just(True), "top_logprobs": st.integers(-1, 40) | st.just(10**9)})


def offered(function: str, schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": function, "parameters": schema}}


openai_forms = st.one_of(
    st.builds(lambda schema: {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}, schemas),
    st.just({"type": "json_object"}),
)
openai_tools = st.lists(st.builds(offered, names, schemas | st.just(SMALL)), max_size=5)
choices = st.sampled_from(["required", "auto", "none", {"type": "function", "function": {"name": "f"}}])


def history(text: str) -> list[dict[str, Any]]:
    """A conversation in which a function was called with these arguments."""
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": text}}
    return [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "a", "content": text[:100]},
    ]


params = st.one_of(
    regexes.map(lambda regex: {"regex": regex}),
    grammars.map(lambda grammar: {"grammar": grammar}),
    schemas.map(lambda schema: {"json_schema": schema}),
    biases.map(lambda biased: {"logit_bias": biased}),
    stops.map(lambda stop: {"stop": stop}),
    logprobs,
)
SETTINGS: tuple[tuple[Set[str], st.SearchStrategy[dict[str, Any]]], ...] = (
    ({"params"}, params.map(lambda given: {"params": {"max_new_tokens": 8, **given}})),
    ({"response_format"}, openai_forms.map(lambda form: {"response_format": form})),
    (
        {"tools", "tool_choice"},
        st.builds(lambda tools, choice: {"tools": tools, "tool_choice": choice}, openai_tools, choices),
    ),
    (
        {"tools", "tool_choice"},
        st.builds(
            lambda name, schema: {"tools": [{"name": name, "input_schema": schema}], "tool_choice": {"type": "any"}},
            names,
            schemas,
        ),
    ),
    (
        {"tools", "tool_choice"},
        st.builds(
            lambda name, schema: {
                "tools": [{"type": "function", "name": name, "parameters": schema}],
                "tool_choice": "required",
            },
            names,
            schemas,
        ),
    ),
    (
        {"input", "text"},
        schemas.map(lambda schema: {"text": {"format": {"type": "json_schema", "name": "a", "schema": schema}}}),
    ),
    ({"messages"}, arguments.map(lambda text: {"messages": history(text)})),
    ({"logit_bias"}, biases.map(lambda biased: {"logit_bias": biased})),
    ({"stop"}, stops.map(lambda stop: {"stop": stop})),
    ({"top_logprobs", "logprobs"}, logprobs),
)
"""Which fields of a body, and what is drawn for them. Three APIs have functions, each in a shape of its own."""
