"""From the words of JSON Schema to those of OpenAPI 3.0."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.gateway.dialect import to_openapi


@pytest.mark.parametrize(
    ("schema", "converted"),
    [
        ({"type": "null"}, {"nullable": True, "enum": [None]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        (
            {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "null"}], "title": "t"},
            {"anyOf": [{"type": "string"}, {"type": "number"}], "title": "t", "nullable": True},
        ),
        ({"anyOf": [{"type": "string"}, {"type": "number"}]}, {"anyOf": [{"type": "string"}, {"type": "number"}]}),
        ({"exclusiveMinimum": 0}, {"minimum": 0, "exclusiveMinimum": True}),
        ({"exclusiveMaximum": 1.5}, {"maximum": 1.5, "exclusiveMaximum": True}),
        ({"prefixItems": [{"type": "number"}] * 2, "items": False}, {"items": {"type": "number"}}),
        (
            {"prefixItems": [{"type": "number"}, {"type": "string"}]},
            {"items": {"anyOf": [{"type": "number"}, {"type": "string"}]}},
        ),
        ({"type": "string", "contentEncoding": "base64"}, {"type": "string", "format": "byte"}),
        ({"$ref": "#/a"}, {"$ref": "#/a"}),
        ({"$ref": "#/a", "description": "d"}, {"description": "d", "allOf": [{"$ref": "#/a"}]}),
        (
            {"anyOf": [{"$ref": "#/a"}, {"type": "null"}], "description": "d"},
            {"allOf": [{"$ref": "#/a"}], "description": "d", "nullable": True},
        ),
        ({"required": [], "properties": {}}, {"properties": {}}),
        ([{"type": "null"}, 3], [{"nullable": True, "enum": [None]}, 3]),
    ],
)
def test_a_schema_is_put_into_other_words(schema: Any, converted: Any) -> None:
    assert to_openapi(schema) == converted


def test_what_it_is_given_is_not_changed() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "null"}], "exclusiveMinimum": 0}
    copy = {"anyOf": [{"type": "string"}, {"type": "null"}], "exclusiveMinimum": 0}

    to_openapi(schema)

    assert schema == copy
