"""Media in a request that has been read: URLs fetched, base64 decoded, before the request waits for a replica.

Owns finding it and the order of work; guards nothing itself (`media.fetch` does).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.gateway.deferred import Deferred, has_deferred, restore
from modelyard.http.exchange import Grow, count_nothing
from modelyard.media import sniff
from modelyard.media.content import decode_base64
from modelyard.media.fetch import Fetcher
from modelyard.media.media import Kind
from modelyard.telemetry.context import TraceContext
from modelyard.wire import Blob

FIELD = "media"
"""The key under which a task's fields hold a `Media`, at any depth."""
MAX_MEDIA = 64
"""Pieces of media in one request."""
MAX_URLS = 32
"""Of these, those that are to be fetched: each costs others work that its sender does not pay for."""
FETCHES = 4
"""How many URLs of one request are fetched at a time."""
BLOB_BYTES = 64 * 1024
"""Larger media goes to the worker without being copied into a frame."""
KINDS: dict[str, Kind] = {"image": "image", "audio": "audio", "video": "video"}

Found = tuple[dict[str, Any], Kind | None]


def find_media(value: Any, kind: Kind | None = None) -> Iterator[Found]:
    """Every dict under the key `media`, and what it must hold: what the `type` beside it says, else `kind`."""
    if isinstance(value, dict):
        own = value.get("type")
        kind_here = KINDS.get(own, kind) if isinstance(own, str) else kind
        for name, each in value.items():
            if name == FIELD and isinstance(each, dict):
                yield each, kind_here
            elif isinstance(each, (dict, list)):
                yield from find_media(each, kind)
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, (dict, list)):
                yield from find_media(each, kind)


def needs_resolving(fields: dict[str, Any]) -> bool:
    """Whether there is media, or text that was deferred as if it were."""
    for value in fields.values():
        if type(value) is not str:
            break
    else:  # of most requests
        return False
    return next(find_media(fields), None) is not None or has_deferred(fields)


async def resolve(
    fields: dict[str, Any],
    kind: Kind | None,
    fetcher: Fetcher,
    grow: Grow = count_nothing,
    context: TraceContext | None = None,
) -> dict[str, Any]:
    """`fields` with `{"where", "data"}` for every piece of media, ready for a frame. `kind`: what the task reads.

    Cancelling it cancels the fetches. `grow` is asked before any media is held. `context`: the trace that whoever is
    asked for a URL is told. Raises InvalidRequest naming the field of the first piece that is no such media, and what
    `grow` raises.
    """
    found = list(find_media(fields, kind))
    urls = sum("url" in media for media, _ in found)
    if len(found) > MAX_MEDIA:
        raise InvalidRequest(field="messages", got=f"{len(found)} pieces of media", accepted=f"at most {MAX_MEDIA}")
    if urls > MAX_URLS:
        raise InvalidRequest(field="messages", got=f"{urls} URLs", accepted=f"at most {MAX_URLS}; more as base64")
    turn = asyncio.Semaphore(FETCHES)
    try:
        async with asyncio.TaskGroup() as group:
            for media, wanted in found:
                group.create_task(resolve_one(media, wanted, fetcher, turn, grow, context), name="media")
    except BaseException as error:
        for media, _ in found:  # the error's traceback keeps this frame until the next collection of cycles
            media.pop("data", None)
        if isinstance(error, ExceptionGroup):
            raise error.exceptions[0] from None
        raise
    restored: dict[str, Any] = restore(fields)
    return restored


async def resolve_one(
    media: dict[str, Any],
    kind: Kind | None,
    fetcher: Fetcher,
    turn: asyncio.Semaphore,
    grow: Grow,
    context: TraceContext | None,
) -> None:
    """Puts `data` in place of a URL or base64, and checks that it is a `kind`. Raises InvalidRequest."""
    where = str(media["where"])
    url, text = media.pop("url", None), media.pop("base64", None)
    if url is not None:
        async with turn:
            data: bytes | bytearray = await fetcher.fetch(url, where, grow, context)
    elif isinstance(text, Deferred):
        where = media["where"] = text.where or where
        if not text.uploaded:
            await grow(len(text.raw) * 3 // 4)
        data = await text.decode(where)
    elif isinstance(text, str):
        data = decode_base64(text, where)
    else:
        raise InvalidRequest(f"{where}: missing; accepted: an http(s) URL, a data URL, or base64", field=where)
    if kind is not None:
        sniff.check(data, kind, where)
    media["data"] = Blob(data) if len(data) > BLOB_BYTES else data
