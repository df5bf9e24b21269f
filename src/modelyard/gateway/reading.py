"""From a query string or a JSON body to its Struct, with an error that names the field, what was got, what is accepted.

Owns these sentences; what is accepted is said beside the fields, in `shapes`. Inference bodies are `tasks.body`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect
from starlette.requests import Request

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import decode_object

S = TypeVar("S", bound=msgspec.Struct)


def read_query(request: Request, kind: type[S]) -> S:
    """The query string; parameters it does not know are ignored. Raises InvalidRequest."""
    return to_struct(kind, dict(request.query_params), texts=True)


async def read_body(request: Request, kind: type[S], *, nulls: bool = False) -> S:
    """The JSON body, whose size `bounded_bodies` has checked; none is an empty object. `nulls`: see `to_struct`.

    Raises MalformedBody, InvalidRequest.
    """
    return to_struct(kind, decode_object(await request.body()), nulls=nulls)


def to_struct(kind: type[S], data: Mapping[str, Any], *, texts: bool = False, nulls: bool = False) -> S:
    """Data as a Struct; null stands for a field that is not there, unless `nulls`: then it is a value of its own.
    `texts`: values are texts, whatever their type.

    Raises InvalidRequest.
    """
    given = {name: value for name, value in data.items() if nulls or value is not None}
    try:
        return msgspec.convert(given, kind, strict=not texts)
    except msgspec.ValidationError as error:
        raise find_fault(kind, given, texts=texts) or InvalidRequest(f"The body is wrong: {error}") from error


def find_fault(
    kind: type[msgspec.Struct], data: Mapping[str, Any], where: str = "", *, texts: bool = False
) -> InvalidRequest | None:
    """What is wrong with the first field that does not fit its type; None when all fit."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    if kind.__struct_config__.forbid_unknown_fields:
        for name in data.keys() - fields.keys():
            accepted = f"no such field; one of {', '.join(fields)}"
            return InvalidRequest(field=where + name, got=data[name], accepted=accepted)
    for name, field in fields.items():
        if name not in data and not field.required:
            continue
        value = data.get(name)
        inner = find_struct(field.type)
        if inner is not None and isinstance(value, dict):
            fault = find_fault(inner, value, f"{where}{name}.", texts=texts)
        elif fits(field.type, value, texts=texts):
            fault = None
        else:
            fault = InvalidRequest(field=where + name, got=value, accepted=describe(field.type))
        if fault is not None:
            return fault
    return None


def fits(kind: Any, value: Any, *, texts: bool) -> bool:
    """Whether a value is of a type."""
    try:
        msgspec.convert(value, kind, strict=not texts)
    except msgspec.ValidationError:
        return False
    return True


def describe(kind: Any) -> str:
    """What a field accepts, in words."""
    whole = inspect.type_info(kind)
    if isinstance(whole, inspect.Metadata) and whole.extra:
        return str(whole.extra["accepted"])
    for part in parts_of(whole):
        match part:
            case inspect.IntType():
                return f"a whole number from {part.ge} to {part.le}"
            case inspect.BoolType():
                return "true or false"
            case inspect.LiteralType():
                return " or ".join(f'"{value}"' for value in part.values)
    return "a text"


def find_struct(kind: Any) -> type[msgspec.Struct] | None:
    """The Struct that a field holds, if it holds one."""
    parts = parts_of(inspect.type_info(kind))
    return next((part.cls for part in parts if isinstance(part, inspect.StructType)), None)


def parts_of(kind: inspect.Type) -> list[inspect.Type]:
    """The types a field may have."""
    if isinstance(kind, inspect.Metadata):
        return parts_of(kind.type)
    return [part for each in kind.types for part in parts_of(each)] if isinstance(kind, inspect.UnionType) else [kind]
