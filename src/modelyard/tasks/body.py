"""From the unified request body to a task's typed inputs and params, with errors that name the field.

Owns the wild card `input` and the aliases. Runs in the gateway (before a request waits for anything) and again in the
worker, on the normalised fields only.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest, MalformedBody
from modelyard.tasks import json_limits
from modelyard.tasks.base import Call, Inputs, Params, Task
from modelyard.validation import explain, fault_of

ALIASES = {"prompt": "text"}
CONTROLS = frozenset({"params", "stream", "json", "input", "model", "models", "timeout"})
"""Fields of the unified body that are no input of a task."""
MEDIA_FIELDS = ("base64", "url", "image_url", "audio_url", "video_url")
"""Fields that carry the one piece of media of a task that reads one, the first that is there wins."""
FIELDS = frozenset(
    {
        "text", "text_pair", "messages", "query", "documents", "question", "context", "candidate_labels", "sentences",
        "url", "image_url", "audio_url", "video_url", "base64", "word_boxes",
        "mask", "mask_url", "control_image", "control_image_url", "last_image", "last_image_url",
    }
)  # fmt: skip
"""Every field of the unified body that carries input, for any task. A task reads some and ignores the others."""


class Inference(msgspec.Struct, frozen=True):
    """A request that has been read and checked: what to compute, and how the client wants it back.

    `fields` and `params` are plain data, ready for a frame. `json` False asks for raw media bytes.
    """

    task: str
    fields: dict[str, Any]
    params: dict[str, Any]
    stream: bool = False
    json: bool = True


def decode_object(raw: bytes | bytearray, max_bytes: int = json_limits.MAX_BYTES) -> dict[str, Any]:
    """The JSON object in `raw`, of at most `max_bytes`; an empty body is an empty object.

    Raises MalformedBody, BodyTooLarge.
    """
    json_limits.check(raw, max_bytes)
    if not raw.strip():
        return {}
    try:
        body = msgspec.json.decode(raw)
    except RecursionError:
        raise json_limits.too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBody(
            f'The body is not valid JSON: {fault_of(error)}. Send an object such as {{"text": "..."}}.'
        ) from error
    if not isinstance(body, dict):
        raise MalformedBody(field="body", got=body, accepted='a JSON object, e.g. {"text": "..."}')
    json_limits.check_depth(body, raw)
    return body


def read(task: Task, body: Mapping[str, Any]) -> Inference:
    """Checks a decoded request body against `task`. Raises InvalidRequest naming the field."""
    stream = "stream" in body and flag(body, "stream", default=False)
    as_json = "json" not in body or flag(body, "json", default=True)
    if not task.streams and not (task.makes and as_json):
        stream = False  # the answer of such a task is one piece, whichever way it is sent
    fields = spread(task, body)
    params = body.get("params")
    params = {} if params is None else params
    known = fields_of(task.inputs)
    try:
        convert(task.inputs, fields, "")
    except InvalidRequest as error:
        raise name_unread(error, task, [name for name in fields if name not in known]) from error
    convert(task.params, params, "params")
    return Inference(
        task=task.id,
        fields=fields if known.issuperset(fields) else {name: fields[name] for name in fields if name in known},
        params=dict(params),
        stream=stream,
        json=as_json,
    )


def name_unread(error: InvalidRequest, task: Task, unread: list[str]) -> InvalidRequest:
    """`error`, and when it is about a field that is missing, which of the fields that are there nobody reads."""
    field = error.data.get("field")
    if not unread or field not in task.inputs.__struct_fields__ or error.data.get("accepted"):
        return error
    return InvalidRequest(f"{error.message}; {task.id} does not read {', '.join(unread)}", field=field)


def to_call(task: Task, fields: Mapping[str, Any], params: Mapping[str, Any], **sinks: Any) -> Call[Any, Any]:
    """The typed call for fields and params as `read` returned them. Raises InvalidRequest."""
    return Call(inputs=convert(task.inputs, fields, ""), params=convert(task.params, params, "params"), **sinks)


def spread(task: Task, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body's input fields, with `input` spread and aliases resolved. Explicit fields win over `input`."""
    fields: dict[str, Any] = {}
    wild = body.get("input")
    if isinstance(wild, dict):
        fields.update(wild)
    elif isinstance(wild, list):
        fields["messages" if is_messages(wild) else task.list_wildcard] = wild
    elif wild is not None:
        fields[task.wildcard] = wild
    fields.update({name: value for name, value in body.items() if name not in CONTROLS})
    for alias, name in ALIASES.items():
        if alias in fields:
            fields.setdefault(name, fields.pop(alias))
            fields.pop(alias, None)
    if None in fields.values():
        fields = {name: value for name, value in fields.items() if value is not None}
    if task.prepare is not None:
        fields = task.prepare(fields)
    if task.media is not None and "media" not in fields and (media := find_media(fields)) is not None:
        fields["media"] = media
    known = fields_known_to(task.inputs)
    if not known.issuperset(fields):
        name = next(name for name in fields if name not in known)
        raise InvalidRequest(
            field=name, got=fields[name], accepted=f"no such field; {task.id} takes {describe_fields(task.inputs)}"
        )
    return fields


@cache
def fields_of(kind: type[Inputs]) -> frozenset[str]:
    """The fields that a task reads, by its inputs."""
    return frozenset(kind.__struct_fields__)


@cache
def fields_known_to(kind: type[Inputs]) -> frozenset[str]:
    """Those, and the ones that it ignores because other tasks read them."""
    return FIELDS | fields_of(kind)


def find_media(fields: Mapping[str, Any]) -> dict[str, Any] | None:
    """The media that the body's fields name, as `Media` reads it; a data URL in a URL field counts as base64."""
    for name in MEDIA_FIELDS:
        if name in fields:
            return media_reference(fields[name], name)
    return None


def media_reference(value: Any, where: str) -> dict[str, Any]:
    """One reference to media, as `Media` reads it. Raises InvalidRequest."""
    if isinstance(value, dict):  # OpenAI writes {"url": ...}
        value = value.get("url")
    if not isinstance(value, str) or not value:
        raise InvalidRequest(field=where, got=value, accepted="an http(s) URL, a data URL, or base64")
    kind = "url" if value[:8].lower().startswith(("http://", "https://")) else "base64"
    return {"where": where, kind: value}


def is_messages(items: list[Any]) -> bool:
    """Whether a bare list is a conversation rather than a list of texts."""
    return bool(items) and all(isinstance(item, dict) and "role" in item for item in items)


def flag(body: Mapping[str, Any], name: str, *, default: bool) -> bool:
    """A true/false control of the body. Raises InvalidRequest."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidRequest(field=name, got=value, accepted="true or false")
    return value


def describe_fields(kind: type[msgspec.Struct]) -> str:
    """The struct's field names as a sentence fragment."""
    return ", ".join(kind.__struct_fields__) or "no input"


def convert(kind: type[Any], data: Any, where: str) -> Any:
    """`data` as an instance of the struct `kind`. `where` is what the data is called in messages: "" for the body.

    Raises InvalidRequest naming the field, what was got and what is accepted.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise explain(error, kind, data, where, described=True) from error


__all__ = ["Inference", "Inputs", "Params", "convert", "decode_object", "read", "to_call"]
