"""image-to-video: a video that begins with an image, and of what a text says, as an MP4 without sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import ModelyardError
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs
from modelyard.tasks.shared.media_making import PromptText, VideoParams, make_videos
from modelyard.tasks.shared.pictures import Picture, count_characters, naming, read_pictures


class ImageToVideoInputs(ImageInputs, frozen=True, kw_only=True):
    """The image, and what happens in it."""

    text: Annotated[
        PromptText | None, Meta(description="what the video shows, on models that read a text beside the image")
    ] = None
    last_image: Annotated[
        Picture | None,
        Meta(description="last_image or last_image_url: what the video ends with, on models that are told both ends"),
    ] = None


class ImageToVideoParams(VideoParams, frozen=True, kw_only=True):
    """How to make it. Each model has some of these settings."""

    motion_bucket_id: Annotated[
        Annotated[int, Meta(ge=0, le=255)] | None,
        Meta(description="higher moves more (Stable Video Diffusion); by default the model's own, 127"),
    ] = None
    noise_aug_strength: Annotated[
        Annotated[float, Meta(ge=0, le=10)] | None,
        Meta(
            description="noise put over the image first: more keeps less of it and moves more (Stable Video "
            "Diffusion); by default the model's own, 0.02"
        ),
    ] = None


ImageToVideoOutput = Made
"""An MP4, H.264."""

FURTHER = ("last_image",)
"""The images that may go beside the first."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes one video for each call."""
    return make_videos(model, calls, lambda call, model: read_pictures(call, model, FURTHER))


TASK = Task(
    id="image-to-video",
    summary="Make a video that begins with an image, of what a text says.",
    inputs=ImageToVideoInputs,
    params=ImageToVideoParams,
    output=ImageToVideoOutput,
    run=run,
    heads=("video-pipeline",),
    example={"base64": EXAMPLE, "text": "It begins to snow", "params": {"num_frames": 16, "num_inference_steps": 20}},
    media="image",
    makes="video",
    prepare=naming(*FURTHER),
    wildcard="base64",
    max_batch=1,
    length=count_characters,
    sizes=sizes.images_to_move,
)
