"""From a query string or a JSON body to its Struct, with an error that names the field, what was got, what is accepted.

What is accepted is said beside the fields, in `shapes`. Inference bodies are `tasks.body`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request

from modelyard.tasks.body import decode_object
from modelyard.validation import explain

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
        raise explain(error, kind, given) from error
