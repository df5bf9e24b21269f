"""JSON schemas as clients send them: nested objects, lists, enumerations, unions and patterns, all of bounded size."""

from __future__ import annotations

import random
from typing import Any

PATTERNS = ("^[a-z]{2,5}$", "^[0-9]{3}-[0-9]{2}$", "^(red|green|blue)$", "^[A-Z][a-z]{0,6}$")
WORDS = ("name", "age", "city", "zip code", "tags", "größe", "a.b", "x")


def draw_schema(seed: int) -> dict[str, Any]:
    """An object of up to four fields."""
    return draw_object(random.Random(seed), depth=2)


def draw_object(draw: random.Random, depth: int) -> dict[str, Any]:
    names = draw.sample(WORDS, draw.randint(1, 4))
    return {
        "type": "object",
        "properties": {name: draw_value(draw, depth - 1) for name in names},
        "required": draw.sample(names, draw.randint(0, len(names))),
        "additionalProperties": False,
    }


def draw_value(draw: random.Random, depth: int) -> dict[str, Any]:
    kinds = [draw_string, draw_number, draw_choice, draw_pattern]
    if depth > 0:
        kinds += [draw_list, draw_union, draw_object_below]
    return draw.choice(kinds)(draw, depth)


def draw_string(draw: random.Random, _depth: int) -> dict[str, Any]:
    least = draw.randint(0, 3)
    return {"type": "string", "minLength": least, "maxLength": least + draw.randint(0, 8)}


def draw_number(draw: random.Random, _depth: int) -> dict[str, Any]:
    if draw.random() < 0.3:
        return {"type": draw.choice(["boolean", "null"])}
    low = draw.randint(-50, 50)
    return {"type": "integer", "minimum": low, "maximum": low + draw.randint(0, 5000)}


def draw_choice(draw: random.Random, _depth: int) -> dict[str, Any]:
    if draw.random() < 0.3:
        return {"const": draw.choice(["one", 2, None, [1, "x"]])}
    return {"enum": draw.sample(["red", "green", 'quo"ted', "日本", 1, 2.5, True, None], draw.randint(1, 4))}


def draw_pattern(draw: random.Random, _depth: int) -> dict[str, Any]:
    return {"type": "string", "pattern": draw.choice(PATTERNS)}


def draw_list(draw: random.Random, depth: int) -> dict[str, Any]:
    least = draw.randint(0, 2)
    most = least + draw.randint(0, 2)
    return {"type": "array", "items": draw_value(draw, depth - 1), "minItems": least, "maxItems": most}


def draw_union(draw: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [draw_value(draw, depth - 1) for _ in range(draw.randint(2, 3))]}


def draw_object_below(draw: random.Random, depth: int) -> dict[str, Any]:
    return draw_object(draw, depth)
