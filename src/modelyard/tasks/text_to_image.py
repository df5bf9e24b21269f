"""text-to-image: an image of what a text says, as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import ModelyardError
from modelyard.media.encode import made_png
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Inputs, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.media_making import PromptedParams, PromptText, make_each, prompt_length


class TextToImageInputs(Inputs, frozen=True, kw_only=True):
    """What to show."""

    text: Annotated[PromptText, Meta(description="what the image shows; models cut what is beyond their own limit")]


class TextToImageParams(PromptedParams, frozen=True, kw_only=True):
    """How to make it."""


TextToImageOutput = Made
"""A PNG."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes one image for each call."""
    return make_each(model, calls, lambda pixels, _: made_png(pixels))


TASK = Task(
    id="text-to-image",
    summary="Make an image of what a text says.",
    inputs=TextToImageInputs,
    params=TextToImageParams,
    output=TextToImageOutput,
    run=run,
    heads=("image-pipeline",),
    example={"text": "A small fox by the river, watercolour", "params": {"num_inference_steps": 20}},
    makes="image",
    max_batch=1,
    length=prompt_length,
    sizes=sizes.images_to_make,
)
