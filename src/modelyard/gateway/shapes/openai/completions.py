"""What `/v1/completions` reads and answers. Only describes: `surfaces.openai.completions` speaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=20)] | bool | None,
        described(
            "Say how likely each token was, and so many of the likeliest at its place, where the model is a causal one "
            "on torch; false: nothing.",
            accepted="0 to 20, without echo; or false",
        ),
    ] = None


class CompletionLogprobs(OpenAIShape, frozen=True, kw_only=True):
    """How likely the tokens of a continuation were; a place in each list for each token."""

    tokens: Annotated[Sequence[str], described("Their texts.")]
    token_logprobs: Annotated[
        Sequence[float], described("The natural logarithms of their likelihoods, before settings changed them.")
    ]
    top_logprobs: Annotated[
        Sequence[Mapping[str, float]] | None,
        described("The likeliest at each place, by their texts, of equal ones the likelier; null for 0."),
    ]
    text_offset: Annotated[Sequence[int], described("Where in the texts put together each begins.")]


class CompletionChoice(OpenAIShape, frozen=True, kw_only=True):
    """One continuation, or what an event adds to it."""

    index: Annotated[int, described("From 0; the continuations of one prompt follow one another.")]
    text: Annotated[str, described("The continuation.")]
    logprobs: Annotated[
        CompletionLogprobs | None,
        described("How likely its tokens were, where that was asked for; in a stream in the event with finish_reason."),
    ] = None
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
