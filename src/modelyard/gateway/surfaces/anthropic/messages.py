"""`POST /v1/messages` and `/v1/messages/count_tokens`: a conversation in, the assistant's message or its length out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.anthropic import (
    AnsweredBlock,
    AnthropicAnswer,
    AnthropicError,
    AnthropicUsage,
    CountBody,
    CountedTokens,
    MessagesBody,
)
from modelyard.gateway.surfaces.anthropic.conversation import conversation_of
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import ForeignSurface, encode, refuse_task
from modelyard.gateway.surfaces.openai import chat
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import FinishReason, Outcome, Usage
from modelyard.tasks.base import Task

PREFIX = "msg_"
START, DELTA, STOP = "content_block_start", "content_block_delta", "content_block_stop"


class AnthropicSurface(ForeignSurface):
    """What both calls have in common."""

    name = "anthropic"
    error_shape = AnthropicError
    shape: ClassVar[type[CountBody]]
    names: ClassVar[Mapping[str, str]] = {
        "params.max_new_tokens": "max_tokens", "params.stop": "stop_sequences", "text": "messages"
    }  # fmt: skip

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The conversation; fields of the body that are not known are left alone."""
        body, _ = await self.read_json(http, self.shape)
        return UnifiedBody(body.model, {}, body)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id not in chat.TASKS:
            raise refuse_task(task, " or ".join(chat.TASKS))
        messages = conversation_of(read.asked)
        return {"messages": messages, "params": self.params(read.asked), "stream": getattr(read.asked, "stream", False)}

    def params(self, body: Any) -> Mapping[str, Any]:
        """The task's params: for the count, as little as can be made."""
        return {"max_new_tokens": 1}

    def frame(self, data: Any) -> bytes:
        """One event, named by its type."""
        return event(data)


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
        }
        return {name: value for name, value in given.items() if value is not None}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The message, or the end of its stream."""
        usage = outcome.usage
        if not request.inference.stream:
            block = AnsweredBlock(text=chat.text_of(outcome.output["content"]))
            return Payload(encode(message(request, [block], usage)))
        delta = {"stop_reason": reason_of(usage), "stop_sequence": usage.stop_sequence}
        return Payload(
            event({"type": STOP, "index": 0})
            + event({"type": "message_delta", "delta": delta, "usage": show_usage(usage)})
            + event({"type": "message_stop"})
        )

    def opening(self, request: ModelRequest) -> bytes:
        """The message before it says anything."""
        empty = msgspec.to_builtins(message(request, [], Usage(prompt_tokens=request.reading.tokens)))
        start = {**empty, "stop_reason": None}
        block = {"type": START, "index": 0, "content_block": {"type": "text", "text": ""}}
        return event({"type": "message_start", "message": start}) + event(block)

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of what it says."""
        return event({"type": DELTA, "index": 0, "delta": {"type": "text_delta", "text": text}})


class CountTokens(AnthropicSurface):
    """The length of a conversation, as the model itself tells it: one token is made, and thrown away."""

    shape = CountBody

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The count."""
        return Payload(encode(CountedTokens(input_tokens=outcome.usage.prompt_tokens or 0)))


def event(data: Any) -> bytes:
    """One server-sent event, named by its type."""
    fields = msgspec.to_builtins(data)
    return b"event: %b\ndata: %b\n\n" % (fields["type"].encode(), encode(fields))


def message(request: ModelRequest, content: list[AnsweredBlock], usage: Usage) -> AnthropicAnswer:
    """The assistant's message."""
    return AnthropicAnswer(
        id=PREFIX + request.id.removeprefix("req_"),
        model=request.asked.model,
        content=content,
        stop_reason=reason_of(usage),
        stop_sequence=usage.stop_sequence,
        usage=show_usage(usage),
    )


def reason_of(usage: Usage) -> str:
    """Why it ended."""
    if usage.stop_sequence is not None:
        return "stop_sequence"
    reason = usage.finish_reason or FinishReason.STOP
    return "max_tokens" if reason in (FinishReason.LENGTH, FinishReason.TIME) else "end_turn"


def show_usage(usage: Usage) -> AnthropicUsage:
    """What it took."""
    return AnthropicUsage(input_tokens=usage.prompt_tokens or 0, output_tokens=usage.new_tokens or 0)
