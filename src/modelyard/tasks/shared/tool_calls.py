"""Functions that a model calls in the text it writes: what of the text is content, and which calls it makes.

Each family of models writes calls in a form of its own, which `call_formats` lists.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

OfferedTools = Annotated[
    list[dict[str, Any]] | None,
    Meta(
        description="functions the model may call, as JSON schemas, where its chat template supports them or the "
        "answer is held to the form of a call; those that it calls are the answer's tool_calls"
    ),
]
ID_LENGTH = 9
"""Letters and digits of a call's id: Mistral's templates refuse ids of another length."""


class FunctionCall(msgspec.Struct, frozen=True):
    """A function's name, and its arguments as JSON."""

    name: Annotated[str, Meta(description="the function's name, as it was offered")]
    arguments: Annotated[str, Meta(description="an object of arguments, written as JSON")]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call, as clients of OpenAI's API read it and send it back."""

    id: Annotated[str, Meta(description="names the call in the message that brings its result: tool_call_id")]
    type: Annotated[Literal["function"], Meta(description="always function")] = "function"
    function: Annotated[FunctionCall, Meta(description="which function, and with what")]


class Call(NamedTuple):
    """A call as it was read: the function's name, and its arguments."""

    name: str
    arguments: Mapping[str, Any]


class CallsRead(NamedTuple):
    """The calls in a text, and what is left of it besides."""

    calls: Sequence[Call]
    rest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFormat:
    """How a family of models writes calls.

    `marks`: texts that a call begins with. `begins`: those count only where the answer begins; elsewhere they are
    content. `read`: the calls in a text from its first mark on, given the names of the functions offered; None when the
    text is none. `tokens`: special tokens that the form is made of, which the text must keep. `known_by`: a template
    that has one of these writes this form. `opens`: all that stands in a text from where the last call's arguments
    ended, or from its first mark, up to where those of the next call begin, a JSON object; its group `name` is the
    function's name, or `json` the inside of a JSON string with it. None: calls are told when the text has ended.
    """

    name: str
    marks: tuple[str, ...]
    read: Callable[[str, Collection[str]], CallsRead | None]
    begins: bool = False
    tokens: tuple[str, ...] = ()
    known_by: tuple[str, ...] = ()
    opens: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """What a request lets its model call: the names of functions, and the form in which this model calls them."""

    format: CallFormat
    names: frozenset[str]


def as_tool_call(call: Call) -> ToolCall:
    """A call with an id of its own."""
    return ToolCall(id=new_call_id(), function=FunctionCall(call.name, json.dumps(call.arguments, ensure_ascii=False)))


def new_call_id() -> str:
    """An id that no other call has."""
    return secrets.token_hex(ID_LENGTH)[:ID_LENGTH]


def longest_overlap(text: str, marks: Sequence[str]) -> int:
    """The length of the longest end of `text` that one of `marks` begins with."""
    return max(
        (size for mark in marks for size in range(1, min(len(mark), len(text) + 1)) if text.endswith(mark[:size])),
        default=0,
    )


def names_of(tools: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The names of functions offered, as clients describe them: {"type": "function", "function": {"name": ...}}, or
    the function alone."""
    return frozenset(str(tool.get("function", tool).get("name")) for tool in tools)


def with_read_arguments(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call that a client sends back as a template reads it: its arguments as an object, where they are JSON."""
    function = call.get("function")
    if not isinstance(function, dict) or not isinstance(function.get("arguments"), str):
        return dict(call)
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except (ValueError, RecursionError):
        return dict(call)
    return {**call, "function": {**function, "arguments": arguments}}
