"""The events of a streamed response, as OpenAI's clients put them together: items are added, grow, and are done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from modelyard.gateway.shapes.openai.base import OpenAIProblem
from modelyard.gateway.shapes.openai.responses import (
    CallItem,
    Item,
    MessageItem,
    OutputText,
    ReasoningItem,
    ResponseAnswer,
    ThoughtPart,
)
from modelyard.gateway.surfaces.foreign import encode
from modelyard.gateway.surfaces.openai.response_items import CALL, MESSAGE, THOUGHT, name_of
from modelyard.protocol import CalledPiece

TEXT_DELTA, THOUGHT_DELTA = "response.output_text.delta", "response.reasoning_text.delta"
CALL_DELTA, CALL_DONE = "response.function_call_arguments.delta", "response.function_call_arguments.done"
ADDED, DONE = "response.output_item.added", "response.output_item.done"
PART_ADDED, PART_DONE = "response.content_part.added", "response.content_part.done"


@dataclass(slots=True)
class Begun:
    """An item that was begun. `before`: what stands in an event before a piece of its text. `told`: its pieces, of what
    is thought and of calls; `piece`: of a call, the first one."""

    kind: str
    id: str
    index: int
    before: bytes
    told: list[str] = field(default_factory=list)
    piece: CalledPiece | None = None
    is_closed: bool = False


class ResponseEvents:
    """The events of one response, in order. `has_thought`: some of them told what was thought."""

    def __init__(self, response_id: str) -> None:
        self.has_thought = False
        self._response_id = response_id
        self._sequence = 0
        self._begun: list[Begun] = []
        self._said: Begun | None = None
        self._thought: Begun | None = None
        self._called: Begun | None = None

    def begin(self, response: ResponseAnswer) -> bytes:
        """Before anything else."""
        return b"".join(self._event(f"response.{word}", response=response) for word in ("created", "in_progress"))

    def text(self, text: str) -> bytes:
        """More of what is said."""
        opening = b""
        if self._said is None:
            opening = self._close_thought()
            self._said, added = self._open(MESSAGE)
            opening += added
        return opening + self._delta(self._said, text)

    def thought(self, text: str) -> bytes:
        """More of what is thought; nothing, once something was said or called."""
        if self._said is not None or self._called is not None:
            return b""
        opening = b""
        if self._thought is None:
            self._thought, opening = self._open(THOUGHT)
        self.has_thought = True
        self._thought.told.append(text)
        return opening + self._delta(self._thought, text)

    def call(self, piece: CalledPiece) -> bytes:
        """More of a call."""
        opening = b""
        if self._called is None or piece.name:
            opening = self._close_thought()
            self._called, added = self._open(CALL, piece)
            opening += added
        self._called.told.append(piece)
        return opening + self._delta(self._called, piece)

    def in_order(self, items: Sequence[Item]) -> list[Item]:
        """A response's items as they were begun, then the others; a call that was cut is among them."""
        calls = [item for item in items if isinstance(item, CallItem)]
        others = {MESSAGE: MessageItem, THOUGHT: ReasoningItem}
        ordered: list[Item] = []
        for begun in self._begun:
            if begun.kind != CALL:
                ordered += [item for item in items if isinstance(item, others[begun.kind])]
            elif calls:
                ordered.append(calls.pop(0))
            elif begun.piece is not None:
                ordered.append(
                    CallItem(
                        id=begun.id,
                        call_id=begun.piece.id,
                        name=begun.piece.name,
                        arguments="".join(begun.told),
                        status="incomplete",
                    )
                )
        for item in items:
            is_empty = isinstance(item, MessageItem) and not item.content[0].text
            if all(item is not each for each in ordered) and not (is_empty and ordered):
                ordered.append(item)
        kinds = {MessageItem: MESSAGE, ReasoningItem: THOUGHT, CallItem: CALL}
        return [
            msgspec.structs.replace(item, id=name_of(kinds[type(item)], self._response_id, at))
            for at, item in enumerate(ordered)
        ]

    def end(self, response: ResponseAnswer) -> bytes:
        """After the last piece: the end of what is open, the items that were not begun, the whole response, whose items
        are as `in_order` has them."""
        ended = []
        for index, item in enumerate(response.output):
            if index >= len(self._begun):
                ended.append(self._begin_whole(item))
            if not self._begun[index].is_closed:
                ended.append(self._close(item, index))
        word = "incomplete" if response.status == "incomplete" else "completed"
        return b"".join([*ended, self._event(f"response.{word}", response=response)])

    def fail(self, response: ResponseAnswer, problem: OpenAIProblem) -> bytes:
        """After a failure: what it was, and the response that failed."""
        told = {"code": problem.code, "message": problem.message, "param": problem.param}
        return self._event("error", **told) + self._event("response.failed", response=response)

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = encode({"type": kind, **fields, "sequence_number": self._sequence})
        self._sequence += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), data)

    def _open(self, kind: str, piece: CalledPiece | None = None) -> tuple[Begun, bytes]:
        """Begins an item, whose text is to come; of a message or a thought with one part, of a call with its name."""
        index = len(self._begun)
        begun = Begun(kind, name_of(kind, self._response_id, index), index, b"", piece=piece)
        self._begun.append(begun)
        place: dict[str, Any] = {"item_id": begun.id, "output_index": index}
        item: Item
        if piece is not None:
            item = CallItem(id=begun.id, call_id=piece.id, name=piece.name, arguments="", status="in_progress")
            begun.before = self._before(CALL_DELTA, place)
            return begun, self._event(ADDED, output_index=index, item=item)
        part: ThoughtPart | OutputText
        place["content_index"] = 0
        if kind == MESSAGE:
            item, part = MessageItem(id=begun.id, content=(), status="in_progress"), OutputText(text="")
            begun.before = self._before(TEXT_DELTA, {**place, "logprobs": []})
        else:
            item, part = ReasoningItem(id=begun.id, content=(), status="in_progress"), ThoughtPart(text="")
            begun.before = self._before(THOUGHT_DELTA, place)
        added = self._event(ADDED, output_index=index, item=item)
        return begun, added + self._event(PART_ADDED, **place, part=part)

    def _before(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        return b'event: %b\ndata: %b,"delta":' % (kind.encode(), encode({"type": kind, **fields})[:-1])

    def _delta(self, begun: Begun, text: str) -> bytes:
        data = b'%b%b,"sequence_number":%d}\n\n' % (begun.before, encode(str(text)), self._sequence)
        self._sequence += 1
        return data

    def _close_thought(self) -> bytes:
        """Ends the item with what was thought so far, if there is one."""
        thought, self._thought = self._thought, None
        if thought is None:
            return b""
        part = ThoughtPart(text="".join(thought.told))
        return self._close(ReasoningItem(id=thought.id, content=[part], status="completed"), thought.index)

    def _begin_whole(self, item: Item) -> bytes:
        """Begins an item of which nothing was told yet, with all of its text."""
        if isinstance(item, CallItem):
            begun, added = self._open(CALL, CalledPiece(item.arguments, 0, item.call_id, item.name))
            return added + self._delta(begun, item.arguments)
        begun, opened = self._open(MESSAGE if isinstance(item, MessageItem) else THOUGHT)
        said = item.content[0].text
        return opened + (self._delta(begun, said) if said else b"")

    def _close(self, item: Item, index: int) -> bytes:
        """Ends an item that was begun."""
        self._begun[index].is_closed = True
        place: dict[str, Any] = {"item_id": item.id, "output_index": index}
        if isinstance(item, CallItem):
            done = self._event(CALL_DONE, **place, name=item.name, arguments=item.arguments)
            return done + self._done(item, index)
        place["content_index"] = 0
        (part,) = item.content
        word, more = ("reasoning_text", {}) if isinstance(part, ThoughtPart) else ("output_text", _logprobs(part))
        closed = self._event(f"response.{word}.done", **place, text=part.text, **more)
        return closed + self._event(PART_DONE, **place, part=part) + self._done(item, index)

    def _done(self, item: Item, index: int) -> bytes:
        return self._event(DONE, output_index=index, item=item)


def _logprobs(part: OutputText) -> Mapping[str, Any]:
    return {"logprobs": part.logprobs}
