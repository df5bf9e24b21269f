"""Large strings of a request that are not decoded with the rest of it, but later, a slice at a time.

40 MB of base64 take 100 ms to parse, copy and decode in one go, and every other request would wait for it. Here a
large string is lifted out of the JSON before it is parsed; the body holds a `Deferred` in its place.
"""

from __future__ import annotations

import asyncio
import binascii
import secrets
from collections.abc import Callable
from typing import Any, Self

import msgspec

from modelyard.errors import MalformedBody
from modelyard.media import sniff
from modelyard.media.content import decode_slices
from modelyard.tasks import json_limits
from modelyard.tasks.body import decode_object
from modelyard.validation import fault_of

SMALL_BYTES = 256 * 1024
"""A body up to this size is simply parsed: under a millisecond."""
LIFTED_BYTES = 64 * 1024
"""Shorter strings stay where they are."""
SLICE_BYTES = 1024 * 1024
"""How far one search goes before others have their turn."""
TURN_STRINGS = 1000
"""How many strings are looked at before others have their turn."""
MAX_STRINGS = 10_000
"""A body of more strings than this is no upload; looking at each would take longer than parsing all at once."""
PREVIEW_BYTES = 100

_MARK = f"lifted-{secrets.token_hex(16)}-"


class Deferred(str):
    """A string whose value is only the beginning of what it stands for, enough for messages and for telling a URL.

    `raw`: the JSON string, quotes included, or the bytes of an uploaded file; which, says `uploaded`.
    """

    raw: bytes | bytearray | memoryview
    uploaded: bool
    where: str | None

    @classmethod
    def lifted(cls, raw: memoryview) -> Self:
        """Stands for a string in JSON."""
        self = cls(bytes(raw[1 : PREVIEW_BYTES + 1]).decode("utf-8", "replace"))
        self.raw, self.uploaded, self.where = raw, False, None
        return self

    @classmethod
    def file(cls, data: bytes | bytearray, where: str) -> Self:
        """Stands for an uploaded file that its sender called `where`."""
        self = cls(f"an uploaded file of {len(data)} bytes")
        self.raw, self.uploaded, self.where = data, True, where
        return self

    async def decode(self, where: str) -> bytes | bytearray:
        """The bytes it stands for as base64, or of the file. Raises InvalidRequest."""
        if self.uploaded:
            return bytes(self.raw) if isinstance(self.raw, memoryview) else self.raw
        data = bytearray()
        for piece in decode_slices(memoryview(self.raw)[1:-1], where):
            data += piece
            await asyncio.sleep(0)
        return data

    def text(self) -> str:
        """The whole string. Raises MalformedBody when it is none."""
        try:
            return msgspec.json.decode(self.raw, type=str)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MalformedBody(f"The body is not valid JSON: {fault_of(error, str)}.") from error


async def decode_body(raw: bytes | bytearray) -> dict[str, Any]:
    """`tasks.body.decode_object`, with large strings deferred. Raises MalformedBody, BodyTooLarge."""
    if len(raw) <= json_limits.MAX_ELEMENTS:  # of most requests
        return decode_object(raw)
    if len(raw) <= SMALL_BYTES:
        return await decode_off_loop(bytes(raw))
    lifted: list[Deferred] = []
    skeleton = await lift(memoryview(raw), raw, lifted)
    body = await decode_off_loop(skeleton)
    if not lifted:
        return body
    places = {f"{_MARK}{number}": string for number, string in enumerate(lifted)}
    swapped: dict[str, Any] = map_strings(body, lambda text: places.get(text, text))
    return swapped


async def decode_off_loop(raw: bytes) -> dict[str, Any]:
    """`tasks.body.decode_object`, with what may take long to count counted on a thread, beside others' work."""
    if not json_limits.is_for_certain_small(raw):
        await asyncio.to_thread(json_limits.check, raw)
    return decode_object(raw)


async def lift(view: memoryview, raw: bytes | bytearray, lifted: list[Deferred]) -> bytes:
    """`raw` with a mark for each large string, which goes to `lifted`. Raises MalformedBody."""
    parts: list[bytes | memoryview] = []
    copied = position = 0
    for number in range(MAX_STRINGS):
        if number % TURN_STRINGS == TURN_STRINGS - 1:
            await asyncio.sleep(0)
        opening = await find_quote(raw, position)
        if opening < 0:
            break
        closing = await find_closing_quote(raw, opening + 1)
        if closing < 0:
            break  # the parser says what is wrong with it
        position = closing + 1
        if closing - opening > LIFTED_BYTES and looks_like_media(view[opening + 1 : closing]):
            parts += [view[copied:opening], f'"{_MARK}{len(lifted)}"'.encode()]
            lifted.append(Deferred.lifted(view[opening:position]))
            copied = position
    return b"".join([*parts, view[copied:]])


def looks_like_media(text: memoryview) -> bool:
    """Whether a string is a data URL, or base64 of a file of a known format: no text is deferred by mistake."""
    head = bytes(text[:PREVIEW_BYTES]).replace(b"\\", b"")  # JSON may write / as \/
    if head[:5].lower() == b"data:":
        return True
    try:
        return sniff.sniff(binascii.a2b_base64(head[: len(head) // 4 * 4])) is not None
    except binascii.Error:
        return False


async def find_closing_quote(raw: bytes | bytearray, position: int) -> int:
    """Where the string that began before `position` ends; -1 when it does not."""
    while (found := await find_quote(raw, position)) >= 0:
        before = found
        while before > 0 and raw[before - 1] == 0x5C:
            before -= 1
        if (found - before) % 2 == 0:
            return found
        position = found + 1
    return -1


async def find_quote(raw: bytes | bytearray, position: int) -> int:
    """Where the next quote is; -1 when there is none."""
    while position < len(raw):
        found = raw.find(b'"', position, position + SLICE_BYTES)
        if found >= 0:
            return found
        position += SLICE_BYTES
        await asyncio.sleep(0)
    return -1


def restore(value: Any) -> Any:
    """Plain data with the whole text in place of every Deferred: those that turned out not to be media."""
    return map_strings(value, lambda text: text.text() if isinstance(text, Deferred) and not text.uploaded else text)


def as_sent(value: Any) -> msgspec.Raw:
    """A Deferred as it stood in the request's JSON, for an encoder. Raises NotImplementedError for anything else."""
    if not isinstance(value, Deferred) or value.uploaded:
        raise NotImplementedError
    return msgspec.Raw(bytes(value.raw))


def has_deferred(value: Any) -> bool:
    """Whether plain data holds a Deferred."""
    if isinstance(value, Deferred):
        return True
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(has_deferred(each) for each in inner if isinstance(each, (dict, list, Deferred)))


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Plain data with every string but keys put through `change`."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: map_strings(each, change) for name, each in value.items()}
    if isinstance(value, list):
        return [map_strings(each, change) for each in value]
    return value
