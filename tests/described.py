"""Every JSON answer that tests get over httpx from a server of ours, held against the document that it serves.

An answer of a call, a status or a field that `/openapi.json` does not describe fails the test that got it. Calls that
are added later are checked by being in the document. Streams are not read ahead of the test. What an answer that is not
described lacks is found by a library that can tell it, that nearly all are described by one that is quick.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import jsonschema_rs
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

JSON = "application/json"
REFERENCE = re.compile('"#/components/schemas/([^"]+)"')
NOT_CALLS = ("/openapi.json", "/docs")
"""What is served beside the API."""
NOWHERE = {404, 405, 413, 415}
"""What a path or a method that is no call is answered with, as a v2 error."""
NOTHING_THERE = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "output": {"type": "null"}},
    "required": ["error", "output"],
    "additionalProperties": False,
}


class Undescribed(AssertionError):
    """An answer that the document does not describe."""


@dataclass
class Documents:
    """The servers that are checked, by port on this machine, and their document, which is of their sources alone: what
    the first serves whom an answer is got of. To make it takes a server longer than all else that tests ask of it."""

    ports: set[int] = field(default_factory=set)
    document: Document | None = None

    def add(self, port: int) -> None:
        self.ports.add(port)

    def remove(self, port: int) -> None:
        self.ports.discard(port)

    def check(self, response: httpx.Response) -> None:
        """Raises Undescribed for an answer that its server's document does not describe."""
        here = response.url.port
        if here not in self.ports or response.url.path.startswith(NOT_CALLS):
            return
        if response.headers.get("content-type", "").partition(";")[0] != JSON or not response.content:
            return
        if self.document is None:
            self.document = Document(httpx.get(response.url.join("/openapi.json"), timeout=120.0).json())
        self.document.check_text(response.request.method, response.url.path, response.status_code, response.text)


class Described:
    """What an answer has to be."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._quick, self._telling = jsonschema_rs.Draft202012Validator(schema), Draft202012Validator(schema)

    def find_error(self, body: Any) -> ValidationError | None:
        """What is most wrong with a body; None: nothing."""
        return None if self._quick.is_valid(body) else best_match(self._telling.iter_errors(body))


class Document:
    """One OpenAPI document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths = document["paths"]
        self._templates = sorted(((path.split("/"), path) for path in self._paths), key=lambda each: each[1].count("{"))
        self._schemas: dict[str, Any] = closed(document["components"]["schemas"])
        self._described: set[int] = set()

    def check_text(self, method: str, path: str, status: int, text: str) -> None:
        """As `check`; what was asked again and again, and answered alike, is looked at once."""
        seen = hash((method, path, status, text))
        if seen not in self._described:
            self.check(method, path, status, json.loads(text))
            self._described.add(seen)

    def check(self, method: str, path: str, status: int, body: Any) -> None:
        """Raises Undescribed unless such an answer is described."""
        error = self._described_answer(method, self._template(method, path), status).find_error(body)
        if error is not None:
            where = "/".join(map(str, error.absolute_path))
            raise Undescribed(f"{method} {path} {status}: {where or 'the answer'}: {error.message[:1000]}")

    @functools.cache  # noqa: B019 - a handful of documents in a session
    def _described_answer(self, method: str, template: str | None, status: int) -> Described:
        operation = self._paths.get(template, {}).get(method.lower())
        if operation is None:
            if status not in NOWHERE:
                raise Undescribed(f"{method} {template or 'of a path'} is not described, and answers {status}")
            return Described(NOTHING_THERE)
        answer = operation["responses"].get(str(status))
        if answer is None:
            raise Undescribed(f"{method} {template} does not describe an answer with {status}")
        if JSON not in answer.get("content", {}):
            raise Undescribed(f"{method} {template} {status} is not described as JSON")
        schema = closed(answer["content"][JSON]["schema"])
        return Described({**schema, "components": {"schemas": self._referred_to(schema)}})

    def _referred_to(self, schema: Any) -> dict[str, Any]:
        """The schemas that one refers to, directly or not: to read all there are for each answer takes 6 ms."""
        found: dict[str, Any] = {}
        names = references(schema)
        while names:
            name = names.pop()
            found[name] = self._schemas[name]
            names |= references(found[name]) - found.keys()
        return found

    def _template(self, method: str, path: str) -> str | None:
        """The one that has the method, where there is one: what one call does at a path, another may not."""
        parts = path.rstrip("/").split("/")
        fitting = [template for places, template in self._templates if fits(places, parts)]
        with_method = [template for template in fitting if method.lower() in self._paths[template]]
        return next(iter([*with_method, *fitting]), None)


def fits(places: list[str], parts: list[str]) -> bool:
    """Whether the parts of a path are those of a template."""
    return len(places) == len(parts) and all(
        place == part or (place.startswith("{") and part != "") for place, part in zip(places, parts, strict=True)
    )


def references(schema: Any) -> set[str]:
    """The names of the document's schemas that one refers to."""
    return set(REFERENCE.findall(json.dumps(schema)))


def closed(schema: Any) -> Any:
    """A schema of OpenAPI 3.0 in JSON Schema's words, in which objects have no other fields than those described."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {name: closed(value) for name, value in schema.items() if name != "nullable"}
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(changed.get(flag), bool):
            exclusive = changed.pop(flag)
            changed |= {flag: changed.pop(bound)} if exclusive else {}
    if isinstance(changed.get("properties"), dict) and "type" in changed:
        changed.setdefault("additionalProperties", False)
    return {"anyOf": [changed, {"type": "null"}]} if schema.get("nullable") is True else changed


documents = Documents()


def check_answers() -> Iterator[None]:
    """Checks every answer that httpx reads whole, until the generator is closed."""
    send, send_async = httpx.Client.send, httpx.AsyncClient.send

    @functools.wraps(send)
    def checked(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        response = send(self, request, **options)
        if not options.get("stream"):
            documents.check(response)
        return response

    @functools.wraps(send_async)
    async def checked_async(self: httpx.AsyncClient, request: httpx.Request, **options: Any) -> httpx.Response:
        response = await send_async(self, request, **options)
        if not options.get("stream"):
            documents.check(response)
        return response

    httpx.Client.send = checked  # type: ignore[method-assign]
    httpx.AsyncClient.send = checked_async  # type: ignore[method-assign]
    yield
    httpx.Client.send = send  # type: ignore[method-assign]
    httpx.AsyncClient.send = send_async  # type: ignore[method-assign]
