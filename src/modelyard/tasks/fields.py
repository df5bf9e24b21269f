"""What a task's fields are to a program that draws a form for any task, and its answer: told from their JSON schemas.

Knows no task: what types do not say, `hints` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from modelyard.media.media import Kind, Media
from modelyard.tasks.base import Task
from modelyard.tasks.hints import KIND, MEANS, OF, STREAMS, FieldKind

MEDIA_FIELD = "media"
"""A task's inputs have their one piece of media here."""
SENT_AS = "url"
"""What clients may call it, whatever it holds."""
NULL = {"type": "null"}
NUMBERS: Mapping[str, FieldKind] = {"number": "number", "integer": "integer"}
BOUNDS = {
    "minimum": "minimum",
    "exclusiveMinimum": "above",
    "maximum": "maximum",
    "exclusiveMaximum": "below",
    "multipleOf": "step",
    "maxLength": "most",
    "maxItems": "most",
}
"""Keywords of a JSON schema → what a field calls them."""

Schema = dict[str, Any]


def inputs_of(task: Task) -> list[dict[str, Any]]:
    """The fields of a request that a task reads, in its order, by the names that clients send them under."""
    fields = fields_of(msgspec.json.schema(task.inputs), task)
    return [{**field, "name": SENT_AS} if field["name"] == MEDIA_FIELD else field for field in fields]


def settings_of(task: Task) -> list[dict[str, Any]]:
    """The fields of its params, in its order."""
    return fields_of(msgspec.json.schema(task.params), task)


def meanings_of(task: Task) -> dict[str, dict[str, str]]:
    """Fields of its output, wherever they are in it → what they mean, and what they point into."""
    if task.makes is not None:
        return {}
    return {
        name: {"means": schema[MEANS], **({"of": schema[OF]} if OF in schema else {})}
        for name, schema in properties_in(msgspec.json.schema(task.output))
        if MEANS in schema
    }


def fields_of(schema: Schema, task: Task) -> list[dict[str, Any]]:
    """The fields of a struct, by its schema."""
    definitions: dict[str, Schema] = schema["$defs"]
    struct = definitions[name_in(schema)]
    return [
        describe(name, each, name in struct["required"], Forms(each, definitions, task.media))
        for name, each in struct["properties"].items()
    ]


def describe(name: str, schema: Schema, required: bool, forms: Forms) -> dict[str, Any]:
    """One field. `default` is left out where there is none, or it is left to the model, `streams` where it changes
    nothing about streams."""
    field: dict[str, Any] = {
        "name": name,
        "kind": forms.kind(),
        "required": required,
        "description": schema.get("description", ""),
    }
    if schema.get("default") is not None:
        field["default"] = schema["default"]
    if STREAMS in schema:
        field["streams"] = schema[STREAMS]
    if field["kind"] == "choice":
        field["choices"] = forms.choices()
    return {**field, **forms.bounds()}


class Forms:
    """The forms that a field's value may have, but for null."""

    def __init__(self, schema: Schema, definitions: Mapping[str, Schema], media: Kind | None) -> None:
        """`media`: what the task's one piece of media is."""
        self._told: FieldKind | None = schema.get(KIND)
        self._forms: list[Schema] = [form for form in schema.get("anyOf", [schema]) if form != NULL]
        self._definitions = definitions
        self._media = media

    def kind(self) -> FieldKind:
        """How the field is filled in: by the form that its type names first."""
        first = self._forms[0]
        if self._told is not None:
            return self._told
        if self.choices():
            return "choice"
        if first.get("type") == "boolean":
            return "switch"
        if first.get("type") == "array":
            return self._kind_of_list(first.get("items") or {})
        if "$ref" in first:
            return self._kind_of_struct(name_in(first))
        return "text" if first.get("type") == "string" else NUMBERS.get(first.get("type", ""), "json")

    def choices(self) -> list[Any]:
        """The values, where they can be counted; none of a field that is true or false, nothing else."""
        if len(self._forms) == 1 and self._forms[0].get("type") == "boolean":
            return []
        values: list[Any] = []
        for form in self._forms:
            values += [True, False] if form.get("type") == "boolean" else form.get("enum", [])
            if form.get("type") != "boolean" and "enum" not in form:
                return []
        return [value for value in values if value is not None]

    def bounds(self) -> dict[str, Any]:
        """What the first form is bounded by."""
        return {name: self._forms[0][keyword] for keyword, name in BOUNDS.items() if keyword in self._forms[0]}

    def _kind_of_list(self, items: Schema) -> FieldKind:
        if items.get("type") == "string":
            return "texts"
        properties = self._properties(name_in(items)) if "$ref" in items else ()
        return "messages" if {"role", "content"} <= set(properties) else "json"

    def _kind_of_struct(self, name: str) -> FieldKind:
        if name == Media.__name__:
            return self._media or "json"
        return "image" if MEDIA_FIELD in self._properties(name) else "json"

    def _properties(self, name: str) -> Sequence[str]:
        return list(self._definitions[name].get("properties", ()))


def properties_in(schema: Any) -> Iterator[tuple[str, Schema]]:
    """Every field that a schema has, however deep."""
    if isinstance(schema, dict):
        properties = schema.get("properties")
        if isinstance(properties, dict):
            yield from properties.items()
        for value in schema.values():
            yield from properties_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from properties_in(value)


def name_in(schema: Schema) -> str:
    """The name of the struct that a schema refers to."""
    return str(schema["$ref"]).rsplit("/", 1)[-1]
