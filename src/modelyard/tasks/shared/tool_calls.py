"""Functions that a model calls in the text it writes: what of the text is content, and which calls it makes.

Each family of models writes calls in a form of its own, which `call_formats` lists. A text is read as it grows: content
is passed on at once, the text of a call never.
"""

from __future__ import annotations

import json
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
    that has one of these writes this form.
    """

    name: str
    marks: tuple[str, ...]
    read: Callable[[str, Collection[str]], CallsRead | None]
    begins: bool = False
    tokens: tuple[str, ...] = ()
    known_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """What a request lets its model call: the names of functions, and the form in which this model calls them."""

    format: CallFormat
    names: frozenset[str]


class CalledText:
    """One answer as it grows, told apart into content and calls."""

    def __init__(self, offer: Offer) -> None:
        self._offer = offer
        self._held = ""
        self._is_calling = False
        self._is_content = False

    def push(self, piece: str) -> str:
        """The content that is certain now."""
        self._held += piece
        if self._is_calling:
            return ""
        if not self._is_content and not self._held.strip():
            return ""  # blanks in front of a call are no content
        return self._begin() if self._offer.format.begins else self._find_mark()

    def finish(self, *, is_whole: bool) -> tuple[str, tuple[ToolCall, ...]]:
        """The rest of the content, and the calls. `is_whole` False: the text was cut, and so may its last call be; a
        call that is not whole is dropped. What the model ended itself and is no call is content."""
        held, self._held = self._held, ""
        if not self._is_calling:
            return held, ()
        read = self._offer.format.read(held, self._offer.names)
        if read is None or not read.calls:
            return (held if is_whole or self._offer.format.begins else "", ())
        return read.rest if is_whole else "", tuple(as_tool_call(call) for call in read.calls)

    def _begin(self) -> str:
        """For forms that are the whole answer: the text is either a call from its first character on, or none."""
        start = self._held.lstrip()
        marks = self._offer.format.marks
        if not self._is_content and any(start.startswith(mark) for mark in marks):
            self._is_calling = True
            return ""
        if not self._is_content and any(mark.startswith(start) for mark in marks):
            return ""
        return self._pass_on(len(self._held))

    def _find_mark(self) -> str:
        """For forms with a mark of their own: content up to the first one."""
        marks = self._offer.format.marks
        found = [at for mark in marks if (at := self._held.find(mark)) >= 0]
        if found:
            self._is_calling = True
            before, self._held = self._held[: min(found)], self._held[min(found) :]
            return before if self._is_content or before.strip() else ""
        return self._pass_on(len(self._held) - longest_overlap(self._held, marks))

    def _pass_on(self, end: int) -> str:
        content, self._held = self._held[:end], self._held[end:]
        if not self._is_content and not content.strip():
            self._held = content + self._held
            return ""
        self._is_content = True
        return content


def as_tool_call(call: Call) -> ToolCall:
    """A call with an id of its own."""
    arguments = json.dumps(call.arguments, ensure_ascii=False)
    return ToolCall(id=secrets.token_hex(ID_LENGTH)[:ID_LENGTH], function=FunctionCall(call.name, arguments))


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
