"""From JSON Schema's present words, which msgspec writes, to those of OpenAPI 3.0, which the page can show. Pure.

Source: https://spec.openapis.org/oas/v3.0.3#schema-object
"""

from __future__ import annotations

from typing import Any

NULL = {"type": "null"}


def to_openapi(schema: Any) -> Any:
    """A schema, or anything that holds schemas, in the words of OpenAPI 3.0."""
    if isinstance(schema, list):
        return [to_openapi(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "null":
        return {**without(schema, "type"), "nullable": True, "enum": [None]}
    converted = {name: to_openapi(value) for name, value in schema.items() if (name, value) != ("required", [])}
    for convert in (nullable, exclusive, fixed_length, encoded, keep_description_of_reference):
        converted = convert(schema, converted)
    return converted


def nullable(schema: dict[str, Any], converted: dict[str, Any]) -> dict[str, Any]:
    """`anyOf [..., null]` as `nullable`."""
    options = schema.get("anyOf")
    if not isinstance(options, list) or NULL not in options:
        return converted
    rest = [to_openapi(option) for option in options if option != NULL]
    alone = rest[0] if len(rest) == 1 else {"anyOf": rest}
    return {**alone, **without(converted, "anyOf"), "nullable": True}


def exclusive(schema: dict[str, Any], converted: dict[str, Any]) -> dict[str, Any]:
    """An exclusive bound as a bound and a flag."""
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if flag in converted and not isinstance(converted[flag], bool):
            converted = {**converted, bound: converted[flag], flag: True}
    return converted


def fixed_length(schema: dict[str, Any], converted: dict[str, Any]) -> dict[str, Any]:
    """A list whose places have schemas of their own as a list of any of them."""
    if "prefixItems" not in converted:
        return converted
    places: list[Any] = []
    for place in converted["prefixItems"]:
        if place not in places:
            places.append(place)
    return {**without(converted, "prefixItems"), "items": places[0] if len(places) == 1 else {"anyOf": places}}


def encoded(schema: dict[str, Any], converted: dict[str, Any]) -> dict[str, Any]:
    """Bytes in base64 as a format."""
    if converted.get("contentEncoding") != "base64":
        return converted
    return {**without(converted, "contentEncoding"), "format": "byte"}


def keep_description_of_reference(schema: dict[str, Any], converted: dict[str, Any]) -> dict[str, Any]:
    """A reference with words beside it, which would not be read there, as `allOf`."""
    reference = converted.get("$ref")
    if reference is None or len(converted) == 1:
        return converted
    return {**without(converted, "$ref"), "allOf": [{"$ref": reference}]}


def without(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The schema less one keyword."""
    return {key: value for key, value in schema.items() if key != name}
