"""How much JSON one request may hold, found out before a Python object is made of it. Owns the limits and the counting.

Decoding holds up every thread of the process until it is done, so what is bounded is what makes it slow: the number of
values and keys, the depth, and the bytes.
"""

from __future__ import annotations

import re
from typing import Any

from modelyard.errors import BodyTooLarge, MalformedBody

MAX_ELEMENTS = 50_000
"""Values and keys: decoding so many takes 5 ms at most (objects with one key each, measured), walking through them no
longer. A thousand texts, or a document of 7,000 words with their boxes, have fewer."""
MAX_BYTES = 8 * 1024**2
"""Beside media: decoding a text of this size takes 4 ms (measured); it is longer than the context of any model."""
MAX_DEPTH = 64
"""Lists and objects in one another."""

_SEPARATORS = (b",", b":", b"[", b"{")
"""Every value but the first comes after one of these."""
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def check(raw: bytes | bytearray, max_bytes: int = MAX_BYTES) -> None:
    """Raises BodyTooLarge for JSON with more elements than a request may have, or more than `max_bytes`."""
    if len(raw) > max_bytes:
        raise too_large(f"{len(raw)} bytes beside media", f"at most {max_bytes}")
    if len(raw) <= MAX_ELEMENTS or is_for_certain_small(raw):
        return
    separators = position = 0
    for string in _STRING.finditer(raw):
        separators += count_separators(raw[position : string.start()]) or 1
        if separators > MAX_ELEMENTS:
            break
        position = string.end()
    if separators + count_separators(raw[position:]) > MAX_ELEMENTS:
        raise too_large(f"more than {MAX_ELEMENTS} values and keys", f"at most {MAX_ELEMENTS}")


def is_for_certain_small(raw: bytes | bytearray) -> bool:
    """Whether there are few elements even if all that looks like the beginning of one, in texts too, is one."""
    return len(raw) <= MAX_ELEMENTS or count_separators(raw) <= MAX_ELEMENTS


def count_separators(raw: bytes | bytearray) -> int:
    """Bytes that stand before values and keys, wherever they are."""
    return sum(map(raw.count, _SEPARATORS))


def check_depth(value: Any, raw: bytes | bytearray) -> None:
    """Raises MalformedBody when `value`, decoded from `raw`, is nested too deeply."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in inner_containers(outer)]
        if not level:
            return
    raise too_deep()


def inner_containers(value: Any) -> list[Any]:
    """The lists and objects directly inside one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [each for each in inner if isinstance(each, (dict, list))]


def too_deep() -> MalformedBody:
    """The error for JSON of more levels than a request may have."""
    accepted = f"at most {MAX_DEPTH} levels"
    return MalformedBody(f"The body is nested too deeply; accepted: {accepted}.", field="body", accepted=accepted)


def too_large(got: str, accepted: str) -> BodyTooLarge:
    """The error for JSON with too much in it."""
    return BodyTooLarge(f"body: got {got}; accepted: {accepted}", field="body", got=got, accepted=accepted)
