"""What `/v1/moderations` reads and answers. Only describes: `surfaces.openai.moderations` speaks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from modelyard.gateway.shapes.base import Fallbacks, described
from modelyard.gateway.shapes.openai.base import OpenAIShape

MOST_INPUTS = 1024
FORMS = f"a text, a list of 1 to {MOST_INPUTS} texts, or of parts of type text"


class TextPart(OpenAIShape, frozen=True, kw_only=True):
    """A text, as newer clients send it."""

    type: Annotated[Literal["text"], described("Always text.", accepted="text: models of this call read texts")]
    text: Annotated[str, described("The text.")]


class ModerationBody(OpenAIShape, frozen=True, kw_only=True):
    """Texts to look at."""

    model: Annotated[str, described("A model for text-classification, org/name.", accepted="org/name")]
    models: Fallbacks = None
    input: Annotated[
        str | Annotated[list[str | TextPart], Meta(min_length=1, max_length=MOST_INPUTS)],
        described(
            "A text, or several; parts of type text are looked at one by one, and answered as one.", accepted=FORMS
        ),
    ]
    threshold: Annotated[
        float, Meta(gt=0, lt=1), described("The score from which on a text is of a category, above 0, below 1.")
    ] = 0.5
    harmless: Annotated[
        list[str] | None,
        described(
            "The model's labels by which a text is not flagged, in any case; by default those that say so: neutral, "
            "safe, non-toxic, ..."
        ),
    ] = None
    timeout: Annotated[
        float | None, described("Seconds that the request may take in all.", accepted="a number of seconds above 0")
    ] = None


class ModerationResult(OpenAIShape, frozen=True, kw_only=True):
    """What was found in a text. The categories are the model's own labels."""

    flagged: Annotated[bool, described("Whether the text is of any category but the harmless ones.")]
    categories: Annotated[Mapping[str, bool], described("Whether it is of each.")]
    category_scores: Annotated[Mapping[str, float], described("The model's score of each, 0 to 1.")]
    category_applied_input_types: Annotated[Mapping[str, Sequence[str]], described("Of each: text.")]


class Moderations(OpenAIShape, frozen=True, kw_only=True):
    """What was found."""

    id: Annotated[str, described("Names the request, as x-request-id does.")]
    model: Annotated[str, described("The model, as it was asked for.")]
    results: Annotated[Sequence[ModerationResult], described("Of each text, in order; of parts together, one.")]
