"""`POST /v1/messages`: a conversation in, the assistant's message out, at once or as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.anthropic.answers import (
    AnthropicAnswer,
    AnthropicUsage,
    Block,
    CalledBlock,
    OutputDetails,
    SaidBlock,
    ThoughtBlock,
)
from modelyard.gateway.shapes.anthropic.messages import MessagesBody
from modelyard.gateway.surfaces.anthropic.base import AnthropicSurface, Asked, thinks
from modelyard.gateway.surfaces.anthropic.events import BlockStream, event
from modelyard.gateway.surfaces.anthropic.tools import form_of, show_calls, wants_one_call
from modelyard.gateway.surfaces.base import Payload
from modelyard.gateway.surfaces.foreign import encode
from modelyard.gateway.surfaces.openai import chat
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import CalledPiece, FinishReason, Outcome, Usage

PREFIX = "msg_"


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
            "thinking": thinks(body),
            **form_of(body),
        }
        return {name: value for name, value in given.items() if value is not None}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The message, or the end of its stream."""
        asked: Asked = request.asked
        output, body = outcome.output, asked.body
        text, calls = chat.text_of(output["content"]), show_calls(output, body)
        if not request.inference.stream:
            thought = output.get("reasoning_content") if thinks(body) else None
            blocks: list[Block] = []
            if thought:
                shown = "" if hides_thinking(body) else thought
                blocks.append(ThoughtBlock(thinking=shown, signature=id_of(request)))
            if text or not (calls or thought):
                blocks.append(SaidBlock(text=text))
            return Payload(encode(message(request, [*blocks, *calls], outcome.usage, calls)))
        if request.reading.tokens is None:  # nothing was said that could have told it
            request.reading.tokens = outcome.usage.prompt_tokens
        return Payload(ending(asked.stream, calls, outcome.usage))

    def opening(self, request: ModelRequest) -> bytes:
        """The message before it says anything."""
        empty = msgspec.to_builtins(message(request, [], Usage(prompt_tokens=request.reading.tokens), []))
        return event({"type": "message_start", "message": {**empty, "stop_reason": None}})

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of what it says."""
        asked: Asked = request.asked
        return asked.stream.say(text)

    def thought(self, request: ModelRequest, text: str) -> bytes:
        """More of what it thinks, where the request wants that."""
        asked: Asked = request.asked
        if not thinks(asked.body):
            return b""
        return asked.stream.think("" if hides_thinking(asked.body) else str(text), id_of(request))

    def called(self, request: ModelRequest, piece: CalledPiece) -> bytes:
        """More of a call; of the first alone where the request wants no more."""
        asked: Asked = request.asked
        if piece.number and wants_one_call(asked.body):
            return b""
        text = str(piece)
        return asked.stream.call(piece.id, piece.name, text) if piece.name else asked.stream.argue(text)


def hides_thinking(body: MessagesBody) -> bool:
    """Whether blocks of thinking are to be empty."""
    return body.thinking is not None and body.thinking.display == "omitted"


def ending(stream: BlockStream, calls: Sequence[CalledBlock], usage: Usage) -> bytes:
    """The end of what is said, each call that was not told, why the message ended. A message has one block at least."""
    empty = stream.say("") if not stream.begun and not calls else b""
    untold = calls[stream.calls :]
    told = b"".join(stream.call(call.id, call.name, encode(call.input).decode()) for call in untold)
    end = {"stop_reason": reason_of(usage, calls), "stop_sequence": usage.stop_sequence}
    last = event({"type": "message_delta", "delta": end, "usage": show_usage(usage)})
    return b"".join([empty, told, stream.end(), last, event({"type": "message_stop"})])


def id_of(request: ModelRequest) -> str:
    """The id of the message that answers a request."""
    return PREFIX + request.id.removeprefix("req_")


def message(
    request: ModelRequest, content: Sequence[Block], usage: Usage, calls: Sequence[CalledBlock]
) -> AnthropicAnswer:
    """The assistant's message."""
    return AnthropicAnswer(
        id=id_of(request),
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
    thought = usage.reasoning_tokens
    return AnthropicUsage(
        input_tokens=usage.prompt_tokens or 0,
        output_tokens=usage.new_tokens or 0,
        output_tokens_details=UNSET if thought is None else OutputDetails(thinking_tokens=thought),
    )
