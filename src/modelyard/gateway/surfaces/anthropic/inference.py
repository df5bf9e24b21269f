"""Anthropic's inferences: their paths, and how each is described."""

from __future__ import annotations

from typing import Any

from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.anthropic.answers import AnthropicAnswer, CountedTokens
from modelyard.gateway.shapes.anthropic.base import AnthropicError
from modelyard.gateway.shapes.anthropic.messages import CountBody, MessagesBody
from modelyard.gateway.surfaces.anthropic.count import CountTokens
from modelyard.gateway.surfaces.anthropic.messages import Messages
from modelyard.gateway.surfaces.base import Surface
from modelyard.gateway.surfaces.inference import HEADERS, REQUEST_HEADERS
from modelyard.gateway.surfaces.openai import chat
from modelyard.gateway.surfaces.openai.inference import QUESTION, example

MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
EVENTS = {
    "text/event-stream": {
        "type": "string",
        "description": "With stream: message_start; of each block content_block_start, content_block_delta for each "
        "piece, content_block_stop; message_delta with the usage, message_stop; after a failure, error.",
    }
}
COMMON: dict[str, Any] = {
    "methods": ("POST",),
    "tag": "anthropic",
    "headers": HEADERS,
    "request_headers": REQUEST_HEADERS,
    "error": AnthropicError,
    "failures": {400: "The body is not valid JSON, or a field is wrong: the message names it."},
    "tasks": chat.TASKS,
}
ANTHROPIC_INFERENCES = (
    Operation(
        path=MESSAGES,
        summary="Answer a conversation, as Anthropic's API does",
        body=MessagesBody,
        answer=AnthropicAnswer,
        answer_types=EVENTS,
        examples=example("A question.", {"model": "tiny/chat", "max_tokens": 64, "messages": QUESTION}),
        **COMMON,
    ),
    Operation(
        path=COUNT,
        summary="Count the tokens of a conversation",
        body=CountBody,
        answer=CountedTokens,
        examples=example("A question.", {"model": "tiny/chat", "messages": QUESTION}),
        **COMMON,
    ),
)


def anthropic_surfaces(max_body_bytes: int) -> dict[str, Surface]:
    """By path."""
    return {MESSAGES: Messages(max_body_bytes), COUNT: CountTokens(max_body_bytes)}
