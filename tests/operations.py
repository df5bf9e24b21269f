"""What a server's document says of its calls: which are inferences, and bodies for them. Makes no call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.gateway.deadline import HEADER

JSON = "application/json"
KILLED = ("died while they held this request", "crashed")
"""What is promised to be told, with 503, after a second death of a request's replicas or the sixth of a cluster's."""


def operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The method, the path and the words of every call."""
    for path, described in document["paths"].items():
        for method, operation in described.items():
            if method != "parameters":
                yield method, path, operation


def is_inference(operation: Mapping[str, Any]) -> bool:
    """Whether it runs a model: such calls alone read a deadline from a header."""
    return any(each.get("name") == HEADER for each in operation.get("parameters", ()))


def goes_on(operation: Mapping[str, Any]) -> bool:
    """Whether it tells of events until its time is over, which `seconds` sets."""
    return operation["responses"].get("200", {}).get("content", {}).keys() == {"text/event-stream"}


def reads(document: Mapping[str, Any]) -> Iterator[str]:
    """The path of every call that reads; of those that go on, ended at once."""
    for method, path, operation in operations(document):
        if method == "get":
            yield f"{path}?seconds=0" if goes_on(operation) else path


def inferences(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Every inference by its path, whatever surface it is of."""
    return {path: operation for _, path, operation in operations(document) if is_inference(operation)}


def tasks_of(operation: Mapping[str, Any]) -> tuple[str, ...]:
    """The tasks whose models it asks; none: of any."""
    return tuple(operation.get("x-tasks", ()))


def fields_of(schema: Any, document: Mapping[str, Any]) -> set[str]:
    """The fields of a body, wherever its schema is written."""
    if "$ref" in schema:
        return fields_of(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    parts = [each for key in ("allOf", "anyOf", "oneOf") for each in schema.get(key, ())]
    return set(schema.get("properties", ())).union(*(fields_of(each, document) for each in parts))


def body_fields(operation: Mapping[str, Any], document: Mapping[str, Any]) -> set[str]:
    """The fields of the JSON that a call reads; none where it reads none."""
    content = operation.get("requestBody", {}).get("content", {})
    return fields_of(content[JSON]["schema"], document) if JSON in content else set()


def body_of(
    operation: Mapping[str, Any], document: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Those of the values that its body has a field for; None where it reads no body."""
    if "requestBody" not in operation:
        return None
    known = body_fields(operation, document)
    return {name: value for name, value in values.items() if name in known}
