"""What `/v1/completions` reads and answers. Only describes: `surfaces.openai.completions` speaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from modelyard.gateway.shapes.base import described
from modelyard.gateway.shapes.openai.base import CompletionUsage, OpenAIShape
from modelyard.gateway.shapes.openai.writing import WritingBody

MOST_PROMPTS = 1024


class CompletionBody(WritingBody, frozen=True, kw_only=True):
    """A text to continue, or several."""

    prompt: Annotated[
        str | Annotated[list[str], Meta(min_length=1, max_length=MOST_PROMPTS)],
        described(
            "The text to continue as it stands, or several; of a model that chats one.",
            accepted="a text, or a list of 1 to 1024 texts; ids of tokens are not taken",
        ),
    ]
    echo: Annotated[bool, described("Answer with the prompt in front of its continuation.")] = False


class CompletionChoice(OpenAIShape, frozen=True, kw_only=True):
    """One continuation, or what an event adds to it."""

    index: Annotated[int, described("From 0; the continuations of one prompt follow one another.")]
    text: Annotated[str, described("The continuation.")]
    logprobs: Annotated[None, described("Always null.")] = None
    finish_reason: Annotated[str | None, described("stop, or length where the most tokens were reached.")] = None


class Completion(OpenAIShape, frozen=True, kw_only=True):
    """The continuations, or an event of them."""

    id: Annotated[str, described("Names the request, as x-request-id does.")]
    object: Annotated[Literal["text_completion"], described("What this is.")] = "text_completion"
    created: Annotated[int, described("Seconds since 1970.")]
    model: Annotated[str, described("The model, as it was asked for.")]
    choices: Annotated[Sequence[CompletionChoice], described("The continuations.")]
    usage: Annotated[CompletionUsage | UnsetType | None, described("What it took; in a stream as in that of chat.")] = (
        UNSET
    )
