"""Where in a JSON schema lies what cannot be read: its smallest such part, of schemas as large as clients send."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

MOST_LOOKS = 200
"""Parts that are tried, each in milliseconds; what was found by then is the answer."""
MOST_S = 0.5
"""Of CPU time for them: large ones take longer, and the other texts of the model wait."""
BY_NAME = ("properties", "patternProperties")
IN_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
ALONE = ("items", "additionalProperties")


def find_fault(schema: Mapping[str, Any], can_read: Callable[[dict[str, Any]], bool]) -> str:
    """The place of the smallest part of a schema that cannot be read by itself, as a JSON pointer; empty: the whole.

    `can_read` is asked of parts, with the definitions of the whole. Source: RFC 6901.
    """
    shared = {name: schema[name] for name in ("$defs", "definitions") if name in schema}
    part, place, looks = schema, "", 0
    end = time.thread_time() + MOST_S
    while True:
        for step, below in parts_of(part):
            looks += 1
            if looks > MOST_LOOKS or time.thread_time() > end:
                return place
            if not can_read({**below, **shared}):
                part, place = below, place + step
                break
        else:
            return place


def parts_of(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schemas inside a schema, and where they are in it."""
    for keyword in BY_NAME:
        for name, part in as_object(schema.get(keyword)).items():
            if isinstance(part, dict):
                yield f"/{keyword}/{name.replace('~', '~0').replace('/', '~1')}", part
    for keyword in IN_LISTS:
        parts = schema.get(keyword)
        for at, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict):
                yield f"/{keyword}/{at}", part
    for keyword in ALONE:
        if isinstance(part := schema.get(keyword), dict):
            yield f"/{keyword}", part


def as_object(value: Any) -> Mapping[str, Any]:
    """The value where it is an object; an empty one where it is not."""
    return value if isinstance(value, dict) else {}
