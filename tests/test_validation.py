"""What is said of data that does not fit its type: which field, what was got, what is accepted, in words of ours."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.gateway import shapes
from modelyard.gateway.shapes.base import Shape, described
from modelyard.tasks.base import Task
from modelyard.tasks.body import convert
from modelyard.tasks.registry import TASKS
from modelyard.validation import accepted, explain, fault_of

UNFIT: tuple[Any, ...] = (None, True, -1e99, 2**70, "", "\0", [], [[]], [None], {}, {"x": None}, [{}], object())
OWN_WORDS = ("`", "Expected", "Object", "Invalid", "$", "another kind")


class Part(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    its_size: Annotated[int, Meta(ge=1, le=9)]
    box: tuple[float, float] | None = None


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    parts: Annotated[list[Part], Meta(min_length=1), Meta(description="what it is made of")] = []
    share: Annotated[float, Meta(gt=0, le=1)] = 1
    count: Annotated[int, Meta(ge=2)] | None = None
    name: Annotated[str, Meta(min_length=1)] = "x"
    code: Annotated[str, Meta(min_length=2, max_length=4)] = "xx"
    few: Annotated[list[str], Meta(max_length=3)] = []
    biases: dict[str, float] = {}
    colour: Annotated[Literal["red", 3] | bool, described("Its looks.", accepted="a colour, or a 3")] | None = None
    kind: Literal["a", "b"] | None = None
    text: Annotated[str | list[str], Meta(description="a text, or several")] = ""
    part: Annotated[Part | None, described("One more.", accepted="a part")] = None
    prompt: Annotated[str | list[str], described("To read.", accepted="texts; no ids of tokens")] = ""


def said_of(data: Any, **more: Any) -> str:
    """The error about data that is no Whole."""
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(data, Whole)
    return explain(refused.value, Whole, data, **more).message


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            [1],
            "body: got [1]; accepted: an object (parts, share, count, name, code, few, biases, colour, kind, text, ",
        ),
        ({"parts": []}, "parts: got []; accepted: a list that is not empty, each an object (itsSize, box)"),
        ({"parts": [{"itsSize": 0}]}, "parts[0].itsSize: got 0; accepted: a whole number from 1 to 9"),
        ({"parts": [{}]}, "parts[0].itsSize: missing; accepted: a whole number from 1 to 9"),
        ({"parts": [{"itsSize": 1, "a`b": 2}]}, "parts[0].a`b: got 2; accepted: no such field; one of itsSize, box"),
        ({"parts": [{"itsSize": 1, "box": [1]}]}, "parts[0].box: got [1]; accepted: a list of 2: a number, a number"),
        ({"parts": [{"itsSize": 1, "box": [1, "2"]}]}, "parts[0].box[1]: got '2'; accepted: a number"),
        ({"share": 0}, "share: got 0; accepted: a number above 0, of at most 1"),
        ({"count": 1}, "count: got 1; accepted: a whole number of at least 2"),
        ({"name": ""}, "name: got ''; accepted: a text that is not empty"),
        ({"code": "x"}, "code: got 'x'; accepted: a text of 2 to 4 characters"),
        ({"few": ["a"] * 4}, "few: got ['a', 'a', 'a', 'a']; accepted: a list of at most 3, each a text"),
        ({"biases": {"a": "b"}}, "biases: got {'a': 'b'}; accepted: an object, each a number"),
        ({"biases": {1: 2.0}}, "biases: got {1: 2.0}; accepted: an object, each a number"),
        ({"colour": "blue"}, "colour: got 'blue'; accepted: a colour, or a 3"),
        ({"kind": "c"}, 'kind: got \'c\'; accepted: "a" or "b"'),
        ({"part": {"more": 1}}, "part.more: got 1; accepted: no such field; one of itsSize, box"),
        ({"prompt": ["a", 2]}, "prompt: got ['a', 2]; accepted: texts; no ids of tokens"),
        ({"kin": "c"}, "kin: got 'c'; accepted: no such field; one of parts, share, count, name, code, few, biases, "),
    ],
)
def test_the_field_what_was_got_and_what_is_accepted_are_named(data: Any, words: str) -> None:
    assert said_of(data).startswith(words)


def test_a_name_that_looks_like_a_long_path_is_a_name() -> None:
    name = "a` - at `$." + "[1]" * 10_000
    assert said_of({name: 2}).startswith("a` - at `$.[1][1]")
    assert "accepted: no such field; one of parts, " in said_of({name: 2})


def test_what_a_field_means_is_said_where_that_is_wanted() -> None:
    said = said_of({"parts": [{"itsSize": 0}]}, where="params", described=True)
    assert said == "params.parts[0].itsSize: got 0; accepted: a whole number from 1 to 9 (what it is made of)"
    assert said_of({"text": 3}, described=True) == "text: got 3; accepted: a text, or several"
    assert said_of({"text": 3}) == "text: got 3; accepted: a text or a list, each a text"


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_whatever_a_task_refuses_is_told_in_words(task: Task) -> None:
    refused = 0
    for kind in (task.inputs, task.params):
        for field in msgspec.structs.fields(kind):
            assert not any(each in accepted(kind, field.encode_name) for each in OWN_WORDS)
            for value in UNFIT:
                data = {**task.example, field.encode_name: value}
                try:
                    convert(kind, data, "")
                except InvalidRequest as error:
                    refused += 1
                    said = error.message.partition("; accepted: ")[2]
                    assert said
                    assert not any(each in said.partition(" (")[0] for each in OWN_WORDS), said
    assert refused


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"share": 1', "it ends too early"),
        (b"{'share': 1}", "object keys must be strings (byte 1)"),
        (b'{"name": "\xff"}', "it is not UTF-8 throughout"),
        (b'{"share": 1e999}', "it holds a number that is out of range"),
        (b"[" * 2000, "its lists and objects are nested too deeply"),
        (b'{"name": 1}', "name is not a text that is not empty"),
        (b'{"parts": [{}]}', "parts[0].itsSize is missing"),
        (b"[]", "it is not an object (parts, "),
    ],
)
def test_what_is_wrong_with_a_text_is_a_part_of_a_sentence(text: bytes, words: str) -> None:
    kind = Any if text.startswith(b"[[") or b"999" in text else Whole
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError, RecursionError)) as refused:
        msgspec.json.decode(text, type=kind)
    assert fault_of(refused.value, kind).startswith(words)


def test_every_field_that_a_call_reads_says_what_it_accepts() -> None:
    names = [each.name for each in pkgutil.walk_packages(shapes.__path__, f"{shapes.__name__}.")]
    read = {
        kind
        for module in map(importlib.import_module, names)
        for name, kind in vars(module).items()
        if name.endswith(("Body", "Query")) and isinstance(kind, type) and issubclass(kind, Shape)
    }
    assert len(read) > 30
    for kind in read:
        for field in msgspec.structs.fields(kind):
            words = accepted(kind, field.encode_name)
            assert not any(each in words for each in OWN_WORDS), f"{kind.__name__}.{field.name}: {words}"
