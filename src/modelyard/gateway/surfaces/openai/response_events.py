"""The events of a streamed response, as OpenAI's clients put them together: items are added, grow, and are done."""

from __future__ import annotations

from collections.abc import Mapping
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
from modelyard.gateway.surfaces.openai.response_items import MESSAGE, THOUGHT, name_of

TEXT_DELTA, THOUGHT_DELTA = "response.output_text.delta", "response.reasoning_text.delta"
ADDED, DONE = "response.output_item.added", "response.output_item.done"
PART_ADDED, PART_DONE = "response.content_part.added", "response.content_part.done"


class ResponseEvents:
    """The events of one response, in order. `has_thought`: some of them told what was thought."""

    def __init__(self, response_id: str) -> None:
        self.has_thought = False
        self._response_id = response_id
        self._sequence = 0
        self._items = 0
        self._kind = ""
        self._id = ""
        self._before = b""
        self._thought: list[str] = []

    def begin(self, response: ResponseAnswer) -> bytes:
        """Before anything else."""
        return b"".join(self._event(f"response.{word}", response=response) for word in ("created", "in_progress"))

    def text(self, text: str) -> bytes:
        """More of what is said."""
        opening = b""
        if self._kind != MESSAGE:
            opening = self._close_thought() + self._open(MESSAGE)
        return opening + self._delta(text)

    def thought(self, text: str) -> bytes:
        """More of what is thought; nothing, once something was said."""
        if self._kind == MESSAGE:
            return b""
        opening = b"" if self._kind == THOUGHT else self._open(THOUGHT)
        self.has_thought = True
        self._thought.append(text)
        return opening + self._delta(text)

    def end(self, response: ResponseAnswer) -> bytes:
        """After the last piece: the end of what is open, the items that were not begun, the whole response."""
        ended = []
        closed = self._items - bool(self._kind)
        for index, item in enumerate(response.output):
            if index < closed:
                continue  # was thought, and ended when something was said
            if index >= self._items:
                ended.append(self._begin_whole(item))
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

    def _open(self, kind: str) -> bytes:
        """Begins an item with one part, whose text is to come."""
        self._kind, self._id = kind, name_of(kind, self._response_id, self._items)
        item: Item = ReasoningItem(id=self._id, content=(), status="in_progress")
        part: ThoughtPart | OutputText = ThoughtPart(text="")
        if kind == MESSAGE:
            item = MessageItem(id=self._id, content=(), status="in_progress")
            part = OutputText(text="")
        added = self._event(ADDED, output_index=self._items, item=item)
        added += self._event(PART_ADDED, **self._place(self._items), part=part)
        delta = TEXT_DELTA if kind == MESSAGE else THOUGHT_DELTA
        fields = {"type": delta, **self._place(self._items), **({"logprobs": []} if kind == MESSAGE else {})}
        self._before = b'event: %b\ndata: %b,"delta":' % (delta.encode(), encode(fields)[:-1])
        self._items += 1
        return added

    def _delta(self, text: str) -> bytes:
        data = b'%b%b,"sequence_number":%d}\n\n' % (self._before, encode(str(text)), self._sequence)
        self._sequence += 1
        return data

    def _place(self, index: int) -> dict[str, Any]:
        return {"item_id": self._id, "output_index": index, "content_index": 0}

    def _close_thought(self) -> bytes:
        """Ends the item with what was thought so far, if there is one."""
        if self._kind != THOUGHT:
            return b""
        part = ThoughtPart(text="".join(self._thought))
        item = ReasoningItem(id=self._id, content=[part], status="completed")
        return self._close(item, self._items - 1)

    def _begin_whole(self, item: Item) -> bytes:
        """Begins an item of which nothing was told yet, with all of its text."""
        if isinstance(item, CallItem):
            self._kind, self._id = "", item.id
            added = self._event(ADDED, output_index=self._items, item=_without_arguments(item))
            delta = {"item_id": item.id, "output_index": self._items, "delta": item.arguments}
            self._items += 1
            return added + self._event("response.function_call_arguments.delta", **delta)
        kind = MESSAGE if isinstance(item, MessageItem) else THOUGHT
        opened, said = self._open(kind), item.content[0].text
        return opened + (self._delta(said) if said else b"")

    def _close(self, item: Item, index: int) -> bytes:
        """Ends an item, the latest that was begun."""
        self._kind = ""
        if isinstance(item, CallItem):
            told = {"item_id": item.id, "output_index": index, "name": item.name, "arguments": item.arguments}
            return self._event("response.function_call_arguments.done", **told) + self._done(item, index)
        (part,) = item.content
        word, more = ("reasoning_text", {}) if isinstance(part, ThoughtPart) else ("output_text", _logprobs(part))
        closed = self._event(f"response.{word}.done", **self._place(index), text=part.text, **more)
        return closed + self._event(PART_DONE, **self._place(index), part=part) + self._done(item, index)

    def _done(self, item: Item, index: int) -> bytes:
        return self._event(DONE, output_index=index, item=item)


def _without_arguments(item: CallItem) -> CallItem:
    return msgspec.structs.replace(item, arguments="", status="in_progress")


def _logprobs(part: OutputText) -> Mapping[str, Any]:
    return {"logprobs": part.logprobs}
