"""What the surfaces of other APIs share: bodies read into Structs, fields called in errors as their clients call them,
server-sent events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.gateway.deferred import decode_body
from modelyard.gateway.reading import to_struct
from modelyard.gateway.surfaces.base import Surface
from modelyard.http.exchange import HttpExchange
from modelyard.tasks.base import Task

S = TypeVar("S", bound=msgspec.Struct)
EVENTS = "text/event-stream; charset=utf-8"
PARAMS = "params."
MARK = "\0text\0"
"""Stands for a piece's text, to find out what is around it."""
encode = msgspec.json.encode


class ForeignSurface(Surface):
    """See the module. `names`: fields of the unified body and params → what this call calls them."""

    stream_type = EVENTS
    names: ClassVar[Mapping[str, str]] = {}

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes

    async def read_json(self, http: HttpExchange, kind: type[S]) -> tuple[S, dict[str, Any]]:
        """The body as its Struct, and those of its fields that the Struct does not have.

        Raises MalformedBody, BodyTooLarge, InvalidRequest, ClientLeft.
        """
        return split(kind, await decode_body(await http.body(self._max_body_bytes)))

    def stream_error(self, error: BaseException, request_id: str, asked: Any = None) -> bytes:
        """The error as the last event."""
        return self.frame(self.error_shape.of(error, request_id))

    def rename(self, error: BaseException, asked: Any) -> BaseException:
        """An error about a field, with the field called as the client calls it. `asked`: see Surface.rename."""
        return renamed(error, self.names)

    def frame(self, data: Any) -> bytes:
        """One event of this API."""
        return event(data)


def split(kind: type[S], body: Mapping[str, Any]) -> tuple[S, dict[str, Any]]:
    """A body as its Struct, and those of its fields that the Struct does not have. Raises InvalidRequest."""
    known = kind.__struct_fields__
    extras = {name: value for name, value in body.items() if name not in known and value is not None}
    return to_struct(kind, body), extras


def event(data: Any) -> bytes:
    """One server-sent event."""
    return b"data: %b\n\n" % encode(data)


def around(marked: bytes) -> tuple[bytes, bytes]:
    """What stands before and behind MARK in an event. Encoding that anew for each token costs more than the token."""
    before, _, behind = marked.rpartition(encode(MARK))
    return before, behind


def renamed(error: BaseException, names: Mapping[str, str]) -> BaseException:
    """An error about a field, with the field called as the client calls it."""
    field = error.data.get("field") if isinstance(error, InvalidRequest) else None
    if not isinstance(error, InvalidRequest) or not isinstance(field, str):
        return error
    root = field.split("[", 1)[0]
    name = names.get(field) or field.replace(root, names.get(root, root).removeprefix(PARAMS), 1)
    if name == field:
        return error
    message = name + error.message.removeprefix(field) if error.message.startswith(field) else error.message
    data = {key: value for key, value in error.data.items() if key != "field"}
    return type(error)(message, detail=error.detail, field=name, **data)


def refuse_task(task: Task, wanted: str) -> ModelyardError:
    """The error for a model that does something else than this call asks for."""
    return InvalidRequest(
        f"model: got a model for {task.id}; accepted: a model for {wanted}. Ask this one at POST /models/v2/org/name.",
        field="model",
    )


def timing(timeout_s: float | None) -> dict[str, float]:
    """The part of a unified body that says how long the request may take."""
    return {} if timeout_s is None else {"timeout": timeout_s}


def now() -> int:
    """Seconds since 1970, as answers say when they were made."""
    return int(time.time())
