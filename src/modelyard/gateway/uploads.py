"""Request bodies of every content type as one object, as if all had been JSON: objects, forms, and bare files.

Owns which content types are accepted and how a form's fields are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from modelyard.errors import InvalidRequest, MalformedBody, UnsupportedMediaType
from modelyard.gateway.deferred import Deferred, decode_body
from modelyard.http.exchange import HttpExchange
from modelyard.media import sniff
from modelyard.tasks import json_limits
from modelyard.tasks.body import MEDIA_FIELDS, decode_object

JSON_TYPES = ("application/json", "text/plain")
UNTOLD = ("application/x-www-form-urlencoded", "application/octet-stream")
"""What curl claims to send when nobody tells it otherwise, as who says nothing: a file when it looks like one, else
JSON."""
FORM = "multipart/form-data"
MEDIA_TYPES = ("image/", "audio/", "video/")
ACCEPTED = f"application/json, {FORM}, or a file as {', '.join(f'{each}*' for each in MEDIA_TYPES)}"
FILE_FIELD = "base64"
"""The field of the unified body that an uploaded file stands in for."""
TEXT_FIELDS = frozenset({"text", "text_pair", "prompt", "query", "question", "context", *MEDIA_FIELDS})
"""Fields of a form that are taken as they are; others are read as JSON where they are JSON."""
BESIDE = ("mask", "control_image", "last_image")
"""Fields of files that go along with the one that a task reads."""
PIECE_BYTES = 256 * 1024
MAX_FIELDS = 100
MAX_FILES = 16


async def read_body(http: HttpExchange, limit_bytes: int) -> dict[str, Any]:
    """The request's body as one object. Raises MalformedBody, BodyTooLarge, UnsupportedMediaType, ClientLeft."""
    content_type = http.header(b"content-type") or UNTOLD[-1]
    kind = kind_of(content_type)
    if kind in JSON_TYPES or kind.endswith("+json"):
        return await decode_body(await http.body(limit_bytes))
    if kind == FORM:
        return await read_form(http, content_type, limit_bytes)
    if kind.startswith(MEDIA_TYPES):
        return file_body(await http.body(limit_bytes), http.query)
    if kind in UNTOLD:
        data = await http.body(limit_bytes)
        return await decode_body(data) if sniff.sniff(data) is None else file_body(data, http.query)
    raise UnsupportedMediaType(field="content-type", got=kind, accepted=ACCEPTED)


@lru_cache(maxsize=256)
def kind_of(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def file_body(data: bytes | bytearray, query: str) -> dict[str, Any]:
    """The object that a bare file means; its other fields are in the query string: `?params={...}&text=...`."""
    fields = form_fields([(name, value) for name, values in parse_query(query).items() for value in values])
    return {**fields, FILE_FIELD: Deferred.file(data, "body")}


def parse_query(query: str) -> dict[str, list[str]]:
    """A query string's fields. Raises MalformedBody."""
    try:
        return parse_qs(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise MalformedBody(f"The query string cannot be read: {error}") from error


async def read_form(http: HttpExchange, content_type: str, limit_bytes: int) -> dict[str, Any]:
    """The object that a form means. Raises MalformedBody, BodyTooLarge, InvalidRequest, ClientLeft."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        async for piece in http.pieces(limit_bytes):
            yield piece
            await asyncio.sleep(0)

    parser = MultiPartParser(
        Headers({"content-type": content_type}), pieces(),
        max_files=MAX_FILES, max_fields=MAX_FIELDS, max_part_size=limit_bytes,
    )  # fmt: skip
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise MalformedBody(f"The form cannot be read: {getattr(error, 'message', None) or error}") from error
    try:
        files = [(name, value) for name, value in form.multi_items() if isinstance(value, UploadFile)]
        fields = form_fields([(name, value) for name, value in form.multi_items() if isinstance(value, str)])
        targets = [name if name in (*MEDIA_FIELDS, *BESIDE) else FILE_FIELD for name, _ in files]
        if len(set(targets)) < len(targets) or sum(target not in BESIDE for target in targets) > 1:
            names = ", ".join(name for name, _ in files)
            accepted = f"one file, and beside it at most {' and '.join(BESIDE)}; more as base64 in messages"
            raise InvalidRequest(field="form", got=f"files in {names}", accepted=accepted)
        for target, (name, file) in zip(targets, files, strict=True):
            fields[target] = Deferred.file(await read_file(file), name)
        return fields
    finally:
        await form.close()


async def read_file(file: UploadFile) -> bytearray:
    """An uploaded file's bytes; in pieces, for putting 40 MB together at once would hold up everyone."""
    data = bytearray()
    while piece := await file.read(PIECE_BYTES):
        data += piece
    return data


def form_fields(items: list[tuple[str, str]]) -> dict[str, Any]:
    """Fields of text as the values they would have in JSON. A name that comes several times makes a list."""
    fields: dict[str, Any] = {}
    repeated: set[str] = set()
    for name, text in items:
        value = text if name in TEXT_FIELDS else form_value(name, text)
        if name not in fields:
            fields[name] = value
        elif name in repeated:
            fields[name].append(value)
        else:
            fields[name] = [fields[name], value]
            repeated.add(name)
    return fields


def form_value(name: str, text: str) -> Any:
    """The value of one field of a form. Raises MalformedBody when `params` is no JSON object, BodyTooLarge."""
    if name == "params":
        try:
            return decode_object(text.encode())
        except MalformedBody as error:
            raise MalformedBody(field=name, got=text, accepted='a JSON object, e.g. {"top_k": 3}') from error
    raw = text.encode()
    json_limits.check(raw)
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return text
    json_limits.check_depth(value, raw)
    return value
