"""What the calls that have a model write share: chat and completions. Only describes.

Further fields are the settings of the model's task by their own names (`top_k`, `repetition_penalty`, ...): a field
that neither this API nor the task has is refused by name. Nothing is ignored but what says so.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.gateway.shapes.base import Fallbacks, described
from modelyard.gateway.shapes.openai.base import OpenAIShape, StreamOptions

MOST_CHOICES = 16
NO_EFFECT = "Has no effect here."
Text = Annotated[str, Meta(min_length=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)] | None
Temperature = Annotated[
    Annotated[float, Meta(ge=0, le=2)] | None,
    described("0 takes the likeliest token; by default as the model says.", accepted="a number from 0 to 2"),
]
TopP = Annotated[
    Annotated[float, Meta(gt=0, le=1)] | None,
    described("Draw among the likeliest tokens of this share.", accepted="a number above 0, at most 1"),
]


class WritingBody(OpenAIShape, frozen=True, kw_only=True):
    """How a model is to write."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    stream: Annotated[bool, described("Send the answer as events, as it is made.")] = False
    stream_options: Annotated[
        StreamOptions | None, described("What a stream carries besides.", accepted="an object, with stream true")
    ] = None
    n: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_CHOICES)] | None, described("Answers to make, 1 to 16; they are drawn.")
    ] = None
    max_tokens: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        described("Most tokens to make; without it as many as the model's settings say, or 256."),
    ] = None
    temperature: Temperature = None
    top_p: TopP = None
    stop: Annotated[
        Text | Annotated[list[Text], Meta(max_length=16)] | None,
        described("Where the answer ends.", accepted="a text, or up to 16 of them, none empty"),
    ] = None
    seed: Annotated[
        Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None,
        described("Makes draws repeatable on the same machine."),
    ] = None
    frequency_penalty: Annotated[
        Penalty,
        described(
            "Above 0: the likelihood of a token falls each time it has been made.", accepted="a number from -2 to 2"
        ),
    ] = None
    presence_penalty: Annotated[
        Penalty,
        described("Above 0: the likelihood of a token falls once it has been made.", accepted="a number from -2 to 2"),
    ] = None
    logit_bias: Annotated[
        dict[str, Annotated[float, Meta(ge=-100, le=100)]] | None,
        described(
            "By token id, what is added to its score before a token is chosen.",
            accepted="an object of token ids and numbers from -100 to 100",
        ),
    ] = None
    timeout: Annotated[
        float | None, described("Seconds that the request may take in all.", accepted="a number of seconds above 0")
    ] = None
    user: Annotated[str | None, described(NO_EFFECT)] = None
    metadata: Annotated[dict[str, Any] | None, described(NO_EFFECT, accepted="an object")] = None
    safety_identifier: Annotated[str | None, described(NO_EFFECT)] = None
    prompt_cache_key: Annotated[str | None, described(NO_EFFECT)] = None
    prompt_cache_retention: Annotated[str | None, described(NO_EFFECT)] = None
    store: Annotated[
        Literal[False] | None, described("False: nothing is stored.", accepted="false: answers are not stored here")
    ] = None
    service_tier: Annotated[Literal["auto", "default"] | None, described(NO_EFFECT)] = None
