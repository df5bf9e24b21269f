"""OpenAI's inferences: their paths, and how each is described. The calls themselves are in the files beside."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.shapes.openai.chat import ChatBody, ChatCompletion
from modelyard.gateway.surfaces.base import Surface
from modelyard.gateway.surfaces.inference import HEADERS, REQUEST_HEADERS
from modelyard.gateway.surfaces.openai.chat import ChatCompletions

ROOTS = ("/v1", "/models/v2/openai/v1")
"""Where OpenAI's API is: where its clients look below a bare URL, and where the hosted service has it."""
EVENTS = {
    "text/event-stream": {
        "type": "string",
        "description": "With stream: an event for each piece, and `data: [DONE]`. After a failure the last event has "
        "an `error`, and nothing follows.",
    }
}
FAILURES = {400: "The body is not valid JSON, or a field is wrong: `param` names it."}
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


def openai_surfaces(max_body_bytes: int) -> dict[str, Surface]:
    """By path."""
    calls: dict[str, Surface] = {"/chat/completions": ChatCompletions(max_body_bytes)}
    return {root + path: surface for root in ROOTS for path, surface in calls.items()}


def describe_inferences() -> Iterator[Operation]:
    """Each at each of its paths."""
    for root in ROOTS:
        yield Operation(
            methods=("POST",),
            path=f"{root}/chat/completions",
            summary="Answer a conversation, as OpenAI's API does",
            tag="openai",
            body=ChatBody,
            answer=ChatCompletion,
            answer_types=EVENTS,
            headers=HEADERS,
            request_headers=REQUEST_HEADERS,
            error=OpenAIError,
            failures=FAILURES,
            tasks=("chat",),
            examples={
                "chat": {"summary": "A question.", "value": {"model": "tiny/chat", "messages": QUESTION}},
            },
        )


OPENAI_INFERENCES = tuple(describe_inferences())
