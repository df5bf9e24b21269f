"""Events of a stream as Anthropic's clients read them: blocks one behind the other, each begun, told and ended."""

from __future__ import annotations

from typing import Any

import msgspec

from modelyard.gateway.shapes.anthropic.answers import Block, CalledBlock, SaidBlock, ThoughtBlock
from modelyard.gateway.surfaces.foreign import MARK, around, encode

START, DELTA, STOP = "content_block_start", "content_block_delta", "content_block_stop"


class BlockStream:
    """The blocks of one message. `begun`: how many there are so far; `calls`: how many of them are calls."""

    __slots__ = ("_around", "_open", "_signature", "begun", "calls")

    def __init__(self) -> None:
        self.begun = 0
        self.calls = 0
        self._open = ""
        self._around = (b"", b"")
        self._signature = ""

    def say(self, text: str) -> bytes:
        """More of a text."""
        begin = b"" if self._open == "text" else self._begin(SaidBlock(text=""), {"type": "text_delta", "text": MARK})
        return b"%b%b%b%b" % (begin, self._around[0], encode(text), self._around[1])

    def think(self, text: str, signature: str) -> bytes:
        """More of what is thought; nothing: there is something that is not shown."""
        begin = b""
        if self._open != "thinking":
            empty = ThoughtBlock(thinking="", signature="")
            begin = self._begin(empty, {"type": "thinking_delta", "thinking": MARK})
            self._signature = signature
        return b"%b%b%b%b" % (begin, self._around[0], encode(text), self._around[1]) if text else begin

    def call(self, id: str, name: str, arguments: str) -> bytes:
        """A call, of whose arguments more may follow."""
        self.calls += 1
        delta = {"type": "input_json_delta", "partial_json": MARK}
        return self._begin(CalledBlock(id=id, name=name, input={}), delta) + self.argue(arguments)

    def argue(self, text: str) -> bytes:
        """More of the arguments of the call that is open."""
        return b"%b%b%b" % (self._around[0], encode(text), self._around[1])

    def end(self) -> bytes:
        """The end of the block that is open, if one is."""
        kind, self._open = self._open, ""
        if not kind:
            return b""
        place = {"index": self.begun - 1}
        signed = {"type": DELTA, **place, "delta": {"type": "signature_delta", "signature": self._signature}}
        return (event(signed) if kind == "thinking" else b"") + event({"type": STOP, **place})

    def _begin(self, block: Block, delta: dict[str, Any]) -> bytes:
        """The beginning of a block, whose pieces have the form of `delta`."""
        last = self.end()
        place = {"index": self.begun}
        shown = msgspec.to_builtins(block)
        self.begun += 1
        self._open = shown["type"]
        self._around = around(event({"type": DELTA, **place, "delta": delta}))
        return last + event({"type": START, **place, "content_block": shown})


def event(data: Any) -> bytes:
    """One server-sent event, named by its type."""
    fields = msgspec.to_builtins(data)
    return b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), encode(fields))
