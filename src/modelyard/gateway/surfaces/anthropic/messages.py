"""`POST /v1/messages`: a conversation in, the assistant's message out, at once or as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.anthropic.answers import AnthropicAnswer, AnthropicUsage, Block, CalledBlock, SaidBlock
from modelyard.gateway.shapes.anthropic.messages import MessagesBody
from modelyard.gateway.surfaces.anthropic.base import AnthropicSurface, Asked, event
from modelyard.gateway.surfaces.anthropic.tools import form_of, show_calls
from modelyard.gateway.surfaces.base import Payload
from modelyard.gateway.surfaces.foreign import MARK, around, encode
from modelyard.gateway.surfaces.openai import chat
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import FinishReason, Outcome, Usage

PREFIX = "msg_"
START, DELTA, STOP = "content_block_start", "content_block_delta", "content_block_stop"


class Messages(AnthropicSurface):
    """The answer."""

    shape = MessagesBody

    def params(self, body: MessagesBody) -> Mapping[str, Any]:
        """The task's params."""
        given = {
            "max_new_tokens": body.max_tokens,
            "temperature": body.temperature,
            "top_p": body.top_p,
            "top_k": body.top_k,
            "stop": body.stop_sequences or None,
            **form_of(body),
        }
        return {name: value for name, value in given.items() if value is not None}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The message, or the end of its stream."""
        asked: Asked = request.asked
        text, calls = chat.text_of(outcome.output["content"]), show_calls(outcome.output, asked.body)
        if not request.inference.stream:
            said = [SaidBlock(text=text)] if text or not calls else []
            return Payload(encode(message(request, [*said, *calls], outcome.usage, calls)))
        if request.reading.tokens is None:  # nothing was said that could have told it
            request.reading.tokens = outcome.usage.prompt_tokens
        return Payload(ending(asked, calls, outcome.usage))

    def opening(self, request: ModelRequest) -> bytes:
        """The message before it says anything."""
        empty = msgspec.to_builtins(message(request, [], Usage(prompt_tokens=request.reading.tokens), []))
        return event({"type": "message_start", "message": {**empty, "stop_reason": None}})

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of what it says."""
        asked: Asked = request.asked
        if asked.around is None:
            asked.around = around(event({"type": DELTA, "index": 0, "delta": {"type": "text_delta", "text": MARK}}))
            return begin(0, SaidBlock(text="")) + self.piece(request, text)
        return b"%b%b%b" % (asked.around[0], encode(text), asked.around[1])


def ending(asked: Asked, calls: Sequence[CalledBlock], usage: Usage) -> bytes:
    """The end of what is said, each call, and why the message ended."""
    events: list[bytes] = []
    place = 0
    if asked.around is None and not calls:
        events.append(begin(place, SaidBlock(text="")))
    if asked.around is not None or not calls:
        events.append(event({"type": STOP, "index": place}))
        place += 1
    for index, call in enumerate(calls, place):
        delta = {"type": "input_json_delta", "partial_json": encode(call.input).decode()}
        events.append(begin(index, msgspec.structs.replace(call, input={})))
        events.append(event({"type": DELTA, "index": index, "delta": delta}))
        events.append(event({"type": STOP, "index": index}))
    end = {"stop_reason": reason_of(usage, calls), "stop_sequence": usage.stop_sequence}
    events.append(event({"type": "message_delta", "delta": end, "usage": show_usage(usage)}))
    return b"".join([*events, event({"type": "message_stop"})])


def begin(index: int, block: Block) -> bytes:
    """The event of a block's beginning."""
    return event({"type": START, "index": index, "content_block": block})


def message(
    request: ModelRequest, content: Sequence[Block], usage: Usage, calls: Sequence[CalledBlock]
) -> AnthropicAnswer:
    """The assistant's message."""
    return AnthropicAnswer(
        id=PREFIX + request.id.removeprefix("req_"),
        model=request.asked.body.model,
        content=content,
        stop_reason=reason_of(usage, calls),
        stop_sequence=usage.stop_sequence,
        usage=show_usage(usage),
    )


def reason_of(usage: Usage, calls: Sequence[CalledBlock]) -> str:
    """Why it ended: in calls, unless the limit cut it."""
    if usage.stop_sequence is not None:
        return "stop_sequence"
    reason = usage.finish_reason or FinishReason.STOP
    if reason in (FinishReason.LENGTH, FinishReason.TIME):
        return "max_tokens"
    return "tool_use" if calls else "end_turn"


def show_usage(usage: Usage) -> AnthropicUsage:
    """What it took."""
    return AnthropicUsage(input_tokens=usage.prompt_tokens or 0, output_tokens=usage.new_tokens or 0)
