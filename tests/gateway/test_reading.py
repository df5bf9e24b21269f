"""From a query or a body to its Struct, and the sentence about the first field that is wrong."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from starlette.requests import Request

from modelyard.errors import InvalidRequest, MalformedBody
from modelyard.gateway.reading import read_body, read_query, to_struct
from modelyard.gateway.shapes.base import described

Colour = Annotated[str, described("Its looks.", accepted="a colour of the rainbow"), msgspec.Meta(max_length=6)]
Size = Annotated[int, msgspec.Meta(ge=1, le=9)]


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    size: Size = 1


class Body(msgspec.Struct, rename="camel"):
    its_name: str
    size: Size | None = None
    inner: Inner | None = None
    on: bool = False
    kind: Literal["a", "b"] = "a"
    colour: Colour = ""


def request(query: str = "", body: bytes = b"") -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "query_string": query.encode(), "headers": []}, receive)


def test_null_stands_for_a_field_that_is_not_there() -> None:
    assert to_struct(Body, {"itsName": "x", "size": None, "on": None}) == Body("x")


def test_unknown_fields_are_ignored_unless_the_struct_forbids_them() -> None:
    assert to_struct(Body, {"itsName": "x", "more": 1}) == Body("x")
    with pytest.raises(InvalidRequest, match=r"inner\.more: got 1; .*no such field; one of size"):
        to_struct(Body, {"itsName": "x", "inner": {"more": 1}})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"itsName": 3}, "itsName: got 3; accepted: a text"),
        ({}, "itsName: missing; accepted: a text"),
        ({"itsName": "x", "size": 0}, "size: got 0; accepted: a whole number from 1 to 9"),
        ({"itsName": "x", "size": "4"}, "size: got '4'; accepted: a whole number from 1 to 9"),
        ({"itsName": "x", "inner": {"size": 10}}, r"inner\.size: got 10; accepted: a whole number from 1 to 9"),
        ({"itsName": "x", "inner": 3}, r"inner: got 3; accepted: an object \(size\)"),
        ({"itsName": "x", "on": "yes"}, "on: got 'yes'; accepted: true or false"),
        ({"itsName": "x", "kind": "c"}, 'kind: got \'c\'; accepted: "a" or "b"'),
        ({"itsName": "x", "colour": "mauve-ish"}, "colour: got 'mauve-ish'; accepted: a colour of the rainbow"),
    ],
)
def test_the_error_names_the_field_what_was_got_and_what_is_accepted(data: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        to_struct(Body, data)


def test_a_query_is_made_of_texts() -> None:
    assert read_query(request("itsName=x&size=4&on=true&else=1"), Body) == Body("x", 4, on=True)
    with pytest.raises(InvalidRequest, match="size: got 'many'; accepted: a whole number from 1 to 9"):
        read_query(request("itsName=x&size=many"), Body)


async def test_a_body_is_a_json_object_or_nothing() -> None:
    assert await read_body(request(body=b'{"itsName": "x"}'), Body) == Body("x")
    assert await read_body(request(), Inner) == Inner()
    for body in (b"[1]", b"{", b'"x"', b"\xff"):
        with pytest.raises((MalformedBody, InvalidRequest)):
            await read_body(request(body=body), Inner)
