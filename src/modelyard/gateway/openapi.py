"""`/openapi.json`: the API described, put together from the operations, their Structs and the tasks.

Describes nothing itself: words stand beside fields, operations and tasks.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from modelyard import __version__
from modelyard.gateway.dialect import NULL, to_openapi
from modelyard.gateway.operation import PATH_PARAMETERS, Operation
from modelyard.gateway.shapes.base import FAILURES, HEADER_TOO_LARGE, Error
from modelyard.gateway.shapes.inference import (
    SCHEMAS,
    TASK_OUTPUT,
    TASK_PARAMS,
    Inference,
    MadeFile,
    PipelineText,
    V1Inference,
)
from modelyard.http import exchange
from modelyard.media.media import Kind
from modelyard.tasks.base import Task
from modelyard.tasks.reference import MADE

JSON_CONTENT = "application/json"
WORDS = ("description", "default")
"""What a schema says beside what it takes."""
REFERENCE = SCHEMAS + "{name}"
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {
        "title": "Modelyard",
        "version": __version__,
        "description": "Any open model behind one API, on your own machines.",
    },
    "security": [{"key": []}],
}
KEY = {
    "type": "apiKey",
    "in": "header",
    "name": "Authorization",
    "description": "`Key <k>`, `Bearer <k>` or the bare key.",
}


def build(operations: Sequence[Operation], tasks: Sequence[Task]) -> dict[str, Any]:
    """The OpenAPI 3.0 document."""
    schemas = Schemas(operations, tasks)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, describe_path(operation.path))
        for method in operation.methods:
            path[method.lower()] = describe_operation(operation, schemas)
    components = {"schemas": named_in(paths, schemas.components()), "securitySchemes": {"key": KEY}}
    document: dict[str, Any] = to_openapi({**DOCUMENT, "paths": paths, "components": components})
    return document


def serve(operations: Sequence[Operation], tasks: Sequence[Task]) -> Callable[[Request], Awaitable[Response]]:
    """The handler of GET /openapi.json; the document is made when it is first asked for."""

    @functools.cache
    def payload() -> bytes:
        return msgspec.json.encode(build(operations, tasks))

    async def answer(request: Request) -> Response:
        return Response(payload(), media_type=exchange.JSON)

    return answer


class Schemas:
    """The schemas of every type that operations and tasks name."""

    def __init__(self, operations: Sequence[Operation], tasks: Sequence[Task]) -> None:
        self._tasks = tasks
        types = [kind for operation in operations for kind in types_of(operation)]
        types += [kind for task in tasks for kind in (task.inputs, task.params, task.output)]
        types += [PipelineText, MadeFile, Error]
        found, self._components = msgspec.json.schema_components(types, ref_template=REFERENCE)
        self._found = {repr(kind): schema for kind, schema in zip(types, found, strict=True)}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type; an envelope's is written out, the others are referred to."""
        if isinstance(kind, dict):  # a schema already
            return kind
        schema = self._found[repr(kind)]
        component = self._components.get(str(schema.get("$ref")).removeprefix(SCHEMAS), {})
        return {**component, "title": "Answer"} if is_generic(component) else schema

    def components(self) -> dict[str, Any]:
        """All that have a name, and what is made of the tasks."""
        named = {name: with_kind(schema) for name, schema in self._components.items() if not is_generic(schema)}
        for body in (Inference.__name__, V1Inference.__name__):
            schema = named[body]
            named[body] = {**schema, "properties": {**self._task_inputs(), **schema["properties"]}}
        named[TASK_PARAMS] = {
            "anyOf": [{"title": f"params of {task.id}", **self.of(task.params)} for task in self._tasks]
        }
        named[TASK_OUTPUT] = {"anyOf": [self._task_output(task) for task in self._tasks]}
        return named

    def _task_inputs(self) -> dict[str, Any]:
        """The fields that tasks read, in every form that one of them takes, in the words of the first that has them;
        media go by other names."""
        fields: dict[str, Any] = {}
        for task in self._tasks:
            for name, schema in self._components[task.inputs.__name__]["properties"].items():
                fields[name] = widened(fields[name], schema) if name in fields else schema
        fields.pop("media", None)
        return fields

    def _task_output(self, task: Task) -> dict[str, Any]:
        output = self.of(task.output) if task.makes is None else describe_made(task.makes)
        return {"title": task.id, "description": task.summary, "allOf": [output]}


def widened(schema: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """`schema` with the forms that only `other` takes, in the words of `schema`."""
    forms, others = schema.get("anyOf", [schema]), other.get("anyOf", [other])
    more = [form for form in others if form != NULL and not any(takes_all(known, form) for known in forms)]
    words = {name: schema[name] for name in WORDS if name in schema}
    return {**words, "anyOf": [*forms, *more]} if more else schema


def takes_all(schema: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether `schema` takes all that `other` takes, because it asks for nothing more."""
    return {name: value for name, value in schema.items() if name not in WORDS}.items() <= other.items()


def named_in(paths: Any, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the schemas that paths refer to, directly or through one another, by name."""
    found: dict[str, Any] = {}
    waiting = [*references(paths)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = schemas[name]
            waiting += references(schemas[name])
    return dict(sorted(found.items()))


def references(schema: Any) -> Iterator[str]:
    """The names of the schemas that a schema refers to."""
    if isinstance(schema, dict):
        if isinstance(reference := schema.get("$ref"), str):
            yield reference.removeprefix(SCHEMAS)
        for value in schema.values():
            yield from references(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from references(value)


def types_of(operation: Operation) -> Iterator[Any]:
    """The types that an operation names."""
    yield operation.error
    for kind in (operation.answer, operation.body, *operation.body_types.values()):
        if kind is not None and not isinstance(kind, dict):
            yield kind


def with_kind(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema in which the field that tells its kind, which the library writes by itself, is described too."""
    properties = {
        name: {**kind, "description": f"Always {kind['enum'][0]}."} if kind.keys() == {"enum"} else kind
        for name, kind in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties} if properties else schema


def is_generic(schema: dict[str, Any]) -> bool:
    """Whether it is of a generic Struct, whose name would be long and say nothing."""
    return "[" in schema.get("title", "")


def describe_path(path: str) -> dict[str, Any]:
    """What the parts of a path mean."""
    parts = [
        {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}
        for name, text in PATH_PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    return {"parameters": parts} if parts else {}


def describe_operation(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    """One method of a path."""
    described: dict[str, Any] = {"summary": operation.summary, "tags": [operation.tag]}
    if operation.public:
        described["security"] = []
    if operation.tasks:
        described["x-tasks"] = list(operation.tasks)
    query = [] if operation.query is None else describe_query(operation.query)
    headers = [{"name": name, "in": "header", **about} for name, about in operation.request_headers.items()]
    if query or headers:
        described["parameters"] = [*query, *headers]
    if operation.body is not None:
        content: dict[str, Any] = {
            JSON_CONTENT: {"schema": schemas.of(operation.body)},
            **contents(operation.body_types, schemas),
        }
        if operation.examples:
            content[JSON_CONTENT]["examples"] = operation.examples
        described["requestBody"] = {"content": content}
    return {**described, "responses": describe_responses(operation, schemas)}


def describe_query(query: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """The parameters of a query string."""
    (schema,) = msgspec.json.schema(query)["$defs"].values()
    return [
        {
            "name": name,
            "in": "query",
            "description": parameter["description"],
            "schema": {key: value for key, value in parameter.items() if key != "description"},
        }
        for name, parameter in schema["properties"].items()
    ]


def describe_responses(operation: Operation, schemas: Schemas) -> dict[str, Any]:
    """What comes back, by status."""
    files = contents(operation.answer_types, schemas)
    answer = {} if operation.answer is None else {JSON_CONTENT: {"schema": schemas.of(operation.answer)}}
    success: dict[str, Any] = {"description": "Done.", "content": {**answer, **files}}
    if operation.headers:
        success["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in operation.headers.items()
        }
    others = {str(status): {"description": text, "content": files} for status, text in operation.statuses.items()}
    error = {JSON_CONTENT: {"schema": schemas.of(operation.error)}}
    failed = {
        str(status): {"description": text, "content": error}
        for status, text in {**common_failures(operation), **operation.failures}.items()
    }
    too_large = {"431": {"description": HEADER_TOO_LARGE, "content": {JSON_CONTENT: {"schema": schemas.of(Error)}}}}
    return {str(operation.status): success, **others, **failed, **too_large}


def common_failures(operation: Operation) -> Mapping[int, str]:
    """The statuses of errors that other calls may have too, and what they mean."""
    if not operation.public:
        return FAILURES
    return {status: FAILURES[status] for status in (413, 415, *([429] if operation.counts else []), 500)}


def contents(types: Mapping[str, Any], schemas: Schemas) -> dict[str, Any]:
    """Content types and their schemas."""
    return {name: {"schema": schemas.of(kind)} for name, kind in types.items()}


def describe_made(kind: Kind) -> dict[str, Any]:
    """What clients get in the place of a file that a model has made."""
    return {
        "type": "string",
        "format": "uri",
        "description": f"Where {MADE[kind]} can be fetched without a key until it expires. With json=false: the file.",
    }
