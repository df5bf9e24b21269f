"""text-to-video: a video of what a text says, as an MP4 without sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import ModelyardError
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Inputs, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.media_making import PromptText, VideoParams, make_videos, prompt_length


class TextToVideoInputs(Inputs, frozen=True, kw_only=True):
    """What to show."""

    text: Annotated[PromptText, Meta(description="what the video shows; models cut what is beyond their own limit")]


class TextToVideoParams(VideoParams, frozen=True, kw_only=True):
    """How to make it."""


TextToVideoOutput = Made
"""An MP4, H.264."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes one video for each call."""
    return make_videos(model, calls)


TASK = Task(
    id="text-to-video",
    summary="Make a video of what a text says.",
    inputs=TextToVideoInputs,
    params=TextToVideoParams,
    output=TextToVideoOutput,
    run=run,
    heads=("video-pipeline",),
    example={"text": "A small fox runs along the river", "params": {"num_frames": 16, "num_inference_steps": 20}},
    makes="video",
    max_batch=1,
    length=prompt_length,
    sizes=sizes.images_to_make,
)
