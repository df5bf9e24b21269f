"""unconditional-image-generation: an image like those the model was trained on, as a PNG. Takes no input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import ModelyardError
from modelyard.media.encode import made_png
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Inputs, Params, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.media_making import Guidance, Seed, Steps, make_each


class UnconditionalImageGenerationInputs(Inputs, frozen=True, kw_only=True):
    """Nothing: an empty body is valid."""


class UnconditionalImageGenerationParams(Params, frozen=True, kw_only=True):
    """How to make it."""

    num_inference_steps: Steps = None
    eta: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        Meta(description="fresh noise in each step of DDIM: 0 is none, 1 as much as DDPM; on DDIM models"),
    ] = None
    class_label: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="number of the class to show, on models that were trained with classes"),
    ] = None
    guidance_scale: Guidance = None
    seed: Seed = None


UnconditionalImageGenerationOutput = Made
"""A PNG."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes one image for each call."""
    return make_each(model, calls, lambda pixels, _: made_png(pixels))


TASK = Task(
    id="unconditional-image-generation",
    summary="Make an image like those the model was trained on.",
    inputs=UnconditionalImageGenerationInputs,
    params=UnconditionalImageGenerationParams,
    output=UnconditionalImageGenerationOutput,
    run=run,
    heads=("image-pipeline",),
    example={"params": {"num_inference_steps": 50, "seed": 7}},
    makes="image",
    max_batch=1,
    sizes=sizes.images_without_input,
)
