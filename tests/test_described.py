"""That answers which the document does not describe are found."""

from __future__ import annotations

from typing import Any

import pytest

from tests.described import Document, Undescribed

ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string", "nullable": True}, "output": {"nullable": True, "enum": [None]}},
    "required": ["error", "output"],
}


def answer(schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": "Done.", "content": {"application/json": {"schema": schema}}}


DOCUMENT = Document(
    {
        "paths": {
            "/things/{name}": {
                "get": {
                    "responses": {
                        "200": answer({"allOf": [{"$ref": "#/components/schemas/Thing"}], "nullable": True}),
                        "422": answer(ERROR),
                    }
                }
            },
            "/things/all": {"get": {"responses": {"200": answer({"type": "array", "items": {"type": "string"}})}}},
        },
        "components": {
            "schemas": {
                "Thing": {
                    "type": "object",
                    "properties": {
                        "size": {"type": "number", "minimum": 0, "exclusiveMinimum": True},
                        "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
                    },
                    "required": ["size"],
                },
                "Part": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
            }
        },
    }
)


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/things/one", 200, {"size": 1}),
        ("/things/one", 200, {"size": 1, "parts": [{"name": "a"}]}),
        ("/things/one", 200, None),
        ("/things/one", 422, {"error": "size: got 0", "output": None}),
        ("/things/all", 200, ["one"]),
        ("/elsewhere", 404, {"error": "There is nothing at /elsewhere.", "output": None}),
    ],
)
def test_what_is_described_passes(path: str, status: int, body: Any) -> None:
    DOCUMENT.check("GET", path, status, body)


@pytest.mark.parametrize(
    ("method", "path", "status", "body", "words"),
    [
        ("GET", "/things/one", 200, {"size": 1, "colour": "red"}, "colour"),
        ("GET", "/things/one", 200, {}, "size"),
        ("GET", "/things/one", 200, {"size": 1, "parts": [{}]}, "parts/0: 'name' is a required property"),
        ("GET", "/things/one", 200, {"size": 0}, "size: 0 is less than or equal"),
        ("GET", "/things/one", 422, {"error": "no", "output": None, "hint": ""}, "hint"),
        ("GET", "/things/one", 201, {"size": 1}, "does not describe an answer with 201"),
        ("GET", "/things/all", 200, {"size": 1}, "not of type 'array'"),
        ("PUT", "/things/one", 200, {"size": 1}, "is not described"),
        ("GET", "/elsewhere", 200, {}, "is not described"),
        ("GET", "/elsewhere", 404, {"detail": "Not Found"}, "error"),
    ],
)
def test_what_is_not_described_fails(method: str, path: str, status: int, body: Any, words: str) -> None:
    with pytest.raises(Undescribed, match=words):
        DOCUMENT.check(method, path, status, body)
