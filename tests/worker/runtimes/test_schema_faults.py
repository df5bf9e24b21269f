from __future__ import annotations

from typing import Any

import pytest

from modelyard.worker.runtimes.schema_faults import MOST_LOOKS, find_fault

BAD = {"not": {}}
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}, "b/c": BAD}}


def can_read(schema: Any) -> bool:
    """Whether there is no `not` anywhere, as the library has it; definitions count where they are referred to."""
    if isinstance(schema, list):
        return all(map(can_read, schema))
    if not isinstance(schema, dict):
        return True
    return "not" not in schema and all(can_read(part) for name, part in schema.items() if name != "$defs")


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (BAD, ""),
        (OBJECT, "/properties/b~1c"),
        ({"type": "array", "items": {"anyOf": [{"type": "null"}, OBJECT]}}, "/items/anyOf/1/properties/b~1c"),
        ({"prefixItems": [{}, {}, BAD]}, "/prefixItems/2"),
        ({"additionalProperties": BAD}, "/additionalProperties"),
        ({"patternProperties": {"^a": BAD}}, "/patternProperties/^a"),
        ({"properties": {"a": True}, "items": 3, "allOf": [BAD]}, "/allOf/0"),
    ],
)
def test_the_smallest_part_that_cannot_be_read_is_found(schema: dict[str, Any], place: str) -> None:
    assert find_fault(schema, can_read) == place


def test_parts_are_read_with_the_definitions_of_the_whole() -> None:
    seen: list[dict[str, Any]] = []
    find_fault({"$defs": {"x": {}}, "properties": {"a": {"$ref": "#/$defs/x"}}}, lambda part: not seen.append(part))
    assert seen == [{"$ref": "#/$defs/x", "$defs": {"x": {}}}]


def test_a_schema_of_many_parts_is_not_looked_at_for_ever() -> None:
    looks = 0

    def look(part: dict[str, Any]) -> bool:
        nonlocal looks
        looks += 1
        return True

    assert find_fault({"properties": {str(at): {} for at in range(10_000)}}, look) == ""
    assert looks <= MOST_LOOKS
