"""Calls of functions told as they are written: who is called as soon as the name is there, then what comes of its
arguments, as the model writes it.

Only for forms whose arguments are written as JSON behind the name. Reads a text that grows from its first mark on.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass

import msgspec

from modelyard.protocol import CalledPiece
from modelyard.tasks.shared.tool_calls import CallFormat, FunctionCall, ToolCall, new_call_id


@dataclass(slots=True)
class OpenCall:
    """A call whose arguments are being written, from `start` of the text on. `depth`: brackets that are open;
    `in_string`, `is_escaped`: whether what comes next is inside a string, and behind a backslash there."""

    id: str
    name: str
    start: int
    depth: int = 0
    in_string: bool = False
    is_escaped: bool = False

    def find_end(self, text: str, at: int) -> int | None:
        """Where its arguments end, looked for from `at` on; None while they go on."""
        for place in range(at, len(text)):
            if self._closes(text[place]):
                return place + 1
        return None

    def _closes(self, char: str) -> bool:
        if self.in_string:
            if self.is_escaped:
                self.is_escaped = False
            elif char == "\\":
                self.is_escaped = True
            elif char == '"':
                self.in_string = False
            return False
        if char == '"':
            self.in_string = True
        elif char in "{[":
            self.depth += 1
        elif char in "}]":
            self.depth -= 1
        return self.depth == 0


class ToldCalls:
    """The calls of one answer, as far as they are told. `whole`: those that have ended, arguments as they were
    written."""

    def __init__(self, form: CallFormat, names: Collection[str]) -> None:
        """`names`: of the functions that may be called; from the first other one on nothing more is told."""
        self._opens = form.opens
        self._names = names
        self._open: OpenCall | None = None
        self._at = 0
        self.whole: list[ToolCall] = []

    def read(self, text: str) -> list[CalledPiece]:
        """What is new in the text, which is longer than the last time."""
        told: list[CalledPiece] = []
        while self._at < len(text):
            call, number = self._open, len(self.whole)
            if call is None:
                if (call := self._begin(text)) is None:
                    break
                self._open, start, name = call, call.start, call.name
            else:
                start, name = self._at, ""
            end = call.find_end(text, start)
            self._at = len(text) if end is None else end
            told.append(CalledPiece(text[start : self._at], number, call.id if name else "", name))
            if end is not None:
                self._end(call, text[call.start : end])
        return told

    def _begin(self, text: str) -> OpenCall | None:
        found = None if self._opens is None else self._opens.match(text, self._at)
        if found is None:
            return None
        name = find_name(found.groupdict())
        if name not in self._names:
            self._opens = None
            return None
        return OpenCall(new_call_id(), name, found.end())

    def _end(self, call: OpenCall, written: str) -> None:
        self._open = None
        try:
            msgspec.json.decode(written, type=dict)
        except msgspec.DecodeError:  # no arguments, though they looked so: whoever reads the whole text says what it is
            self._opens = None
        else:
            self.whole.append(ToolCall(id=call.id, function=FunctionCall(call.name, written)))


def find_name(groups: dict[str, str | None]) -> str:
    """The function's name: as it is written (`name`), or inside a JSON string (`json`)."""
    if (written := groups.get("name")) is not None:
        return written
    try:
        return str(json.loads(f'"{groups["json"]}"'))
    except ValueError:
        return ""
