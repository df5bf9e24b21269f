"""What is wrong with data that does not fit its type: which field, what was got, what is accepted.

Owns these sentences, for bodies, queries, settings of tasks and files. msgspec says which field it is; what that
accepts is said here, of its type.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from modelyard.errors import InvalidRequest

_AT = re.compile(r" - at (?:`key` in )?`\$?\.?(?P<path>[^`]*)`$")
_ITEM = re.compile(r"(\[\d+\])+$")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_OUT_OF_RANGE = ("Number out of range", "Integer value out of range")
_SYNTAX = "JSON is malformed: "
_HOLDERS = (inspect.CollectionType, inspect.TupleType, inspect.StructType, inspect.DictType)
"""Types of values that hold others."""
MOST_CHARACTERS = 4096
"""No error of msgspec's is a quarter as long, but for a name that somebody has sent: following that takes its time."""
_ANY_VALUE = "[...]"
"""Stands in a path for one of an object's values, whose name msgspec does not say."""


def explain(
    error: msgspec.ValidationError, kind: Any, data: Any, where: str = "", *, described: bool = False
) -> InvalidRequest:
    """The error to raise of `data` that is no `kind`, as `error` says. `where`: what the data is called, "" for a body;
    `described`: what the field means is said as well."""
    reason, path = split(error)
    if unknown := _UNKNOWN.search(reason):
        name, holder = unknown["name"], dig(data, path)
        got = holder.get(name) if isinstance(holder, dict) else None
        fields = ", ".join(field for each in types_at(kind, path) for field in fields_of(each)) or "none"
        return InvalidRequest(field=join(where, path, name), got=got, accepted=f"no such field; one of {fields}")
    missing = _MISSING.search(reason)
    path = join(path, missing["name"]) if missing else field_of(kind, path)
    words = described_at(kind, path) if described else accepted(kind, path)
    field = join(where, path) or "body"
    if missing:
        return InvalidRequest(f"{field}: missing; accepted: {words}", field=field)
    return InvalidRequest(field=field, got=dig(data, path), accepted=words)


def field_of(kind: Any, path: str) -> str:
    """The path of the field that says what is accepted at a path: its holder's, where that has words of its own."""
    holder = _ITEM.sub("", path)
    return holder if any(own_words(each) for each in types_at(kind, holder)) else path


def described_at(kind: Any, path: str) -> str:
    """What is accepted at a path, and what its field means; that alone where several kinds of values would have to be
    spelled out, which the descriptions of such fields do."""
    meaning, kinds = description_of(kind, path), [*alternatives(types_at(kind, path))]
    if meaning and len(kinds) > 1 and any(isinstance(each, _HOLDERS) for each in kinds):
        return meaning
    return accepted(kind, path) + (f" ({meaning})" if meaning else "")


def alternatives(kinds: Iterable[inspect.Type]) -> Iterator[inspect.Type]:
    """Types as those that a value may have, without that there may be none."""
    for each in kinds:
        match each:
            case inspect.Metadata():
                yield from alternatives([each.type])
            case inspect.UnionType():
                yield from alternatives(each.types)
            case _ if not isinstance(each, inspect.NoneType):
                yield each


def description_of(kind: Any, path: str) -> str | None:
    """What a type says of the field with which a path begins."""
    for each in types_at(kind, re.split(r"[.\[]", path, maxsplit=1)[0]):
        if isinstance(each, inspect.Metadata) and each.extra_json_schema:
            return each.extra_json_schema.get("description")
    return None


def fault_of(error: Exception, kind: Any = Any) -> str:
    """What is wrong with JSON that could not be read as `kind`, as a part of a sentence.

    `error`: DecodeError, UnicodeDecodeError or RecursionError, as `msgspec.json.decode` raises them.
    """
    if isinstance(error, msgspec.ValidationError):
        reason, path = split(error)
        if missing := _MISSING.search(reason):
            return f"{join(path, missing['name'])} is missing"
        if reason in _OUT_OF_RANGE:
            return "it holds a number that is out of range"
        return f"{path or 'it'} is not {accepted(kind, path)}"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 throughout"
    if isinstance(error, RecursionError):
        return "its lists and objects are nested too deeply"
    text = str(error)
    return text.removeprefix(_SYNTAX) if text.startswith(_SYNTAX) else "it ends too early"


def split(error: msgspec.ValidationError) -> tuple[str, str]:
    """msgspec's reason, and the path of what it is about, as far as it says that: `messages[0].role`, "" for all."""
    text = str(error)
    if len(text) > MOST_CHARACTERS:  # for the name of an unknown field, and what looks like a path in it may be any
        return f"{text[:MOST_CHARACTERS]}`", ""
    at = _AT.search(text)
    return (text, "") if at is None else (text[: at.start()], at["path"].partition(_ANY_VALUE)[0])


def accepted(kind: Any, path: str) -> str:
    """What a type accepts at a path, in words."""
    return any_of(types_at(kind, path))


def types_at(kind: Any, path: str) -> list[inspect.Type]:
    """The types that a value at a path of `kind` may have."""
    return list(reached(told(kind), steps_of(path)))


@cache
def told(kind: Any) -> inspect.Type:
    """What msgspec knows of a type."""
    return inspect.type_info(kind)


def reached(kind: inspect.Type, steps: Sequence[tuple[str, str]]) -> Iterator[inspect.Type]:
    """The types to which steps lead from a type; none where they lead nowhere."""
    match kind:
        case inspect.UnionType():
            for each in kind.types:
                yield from reached(each, steps)
        case _ if not steps:
            yield kind
        case inspect.Metadata():
            yield from reached(kind.type, steps)
        case inspect.StructType():
            for field in kind.fields:
                if field.encode_name == steps[0][0]:
                    yield from reached(field.type, steps[1:])
        case inspect.CollectionType():
            yield from reached(kind.item_type, steps[1:])
        case inspect.TupleType() if steps[0][1].isdigit() and int(steps[0][1]) < len(kind.item_types):
            yield from reached(kind.item_types[int(steps[0][1])], steps[1:])


def any_of(kinds: Sequence[inspect.Type]) -> str:
    """What any of several types accepts, in words; that there may be nothing is left out."""
    said = [words for each in kinds if not isinstance(each, inspect.NoneType) for words in [words_of(each)]]
    return " or ".join(dict.fromkeys(said)) or "null"


def words_of(kind: inspect.Type) -> str:
    """What a type accepts, in words: as its field says, else made of the type."""
    match kind:
        case inspect.Metadata():
            return own_words(kind) or words_of(kind.type)
        case inspect.UnionType():
            return any_of(kind.types)
        case inspect.NoneType():
            return "null"
        case inspect.AnyType() | inspect.RawType():
            return "any value"
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            return f"a whole number{range_of(kind)}"
        case inspect.FloatType():
            return f"a number{range_of(kind)}"
        case inspect.StrType():
            return f"a text{size_of(kind, ' characters')}"
        case inspect.LiteralType():
            return " or ".join(json.dumps(value) for value in kind.values)
        case inspect.CollectionType():
            return f"a list{size_of(kind, '')}{each_of(kind.item_type)}"
        case inspect.TupleType():
            return f"a list of {len(kind.item_types)}: {', '.join(map(words_of, kind.item_types))}"
        case inspect.StructType():
            return f"an object ({', '.join(fields_of(kind))})"
        case inspect.DictType():
            return f"an object{each_of(kind.value_type)}"
    return "another kind of value"


def own_words(kind: inspect.Type) -> str | None:
    """What a field itself says that it accepts."""
    return kind.extra.get("accepted") if isinstance(kind, inspect.Metadata) and kind.extra else None


def each_of(kind: inspect.Type) -> str:
    """What is accepted of each of several values, behind their holder's words; nothing where that is anything."""
    return "" if isinstance(kind, inspect.AnyType | inspect.RawType) else f", each {words_of(kind)}"


def fields_of(kind: inspect.Type) -> list[str]:
    """The names of an object's fields, as they are sent."""
    match kind:
        case inspect.Metadata():
            return fields_of(kind.type)
        case inspect.UnionType():
            return [name for each in kind.types for name in fields_of(each)]
        case inspect.StructType():
            return [field.encode_name for field in kind.fields]
    return []


def range_of(kind: inspect.IntType | inspect.FloatType) -> str:
    """A number's bounds."""
    if kind.ge is not None and kind.le is not None:
        return f" from {kind.ge} to {kind.le}"
    bounds = (("above", kind.gt), ("of at least", kind.ge), ("below", kind.lt), ("of at most", kind.le))
    return "".join(f" {words} {bound}," for words, bound in bounds if bound is not None).rstrip(",")


def size_of(kind: inspect.StrType | inspect.CollectionType, unit: str) -> str:
    """How long a text or a list may be."""
    least, most = kind.min_length, kind.max_length
    if most is None:
        return "" if not least else " that is not empty" if least == 1 else f" of at least {least}{unit}"
    if not least:
        return f" of at most {most}{unit}"
    return f" of {least}{unit}" if least == most else f" of {least} to {most}{unit}"


def join(*parts: str) -> str:
    """A dotted path from its non-empty parts."""
    return ".".join(part for part in parts if part)


def dig(data: Any, path: str) -> Any:
    """The value at a path such as `messages[0].role`; None when the path leads nowhere."""
    for name, index in steps_of(path):
        try:
            data = data[name] if name else data[int(index)]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return data


def steps_of(path: str) -> list[tuple[str, str]]:
    """A path's names and indexes in order, each as the first or the second of two."""
    return re.findall(r"([^.\[\]]+)|\[(\d+)\]", path)
