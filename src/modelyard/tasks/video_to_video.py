"""video-to-video: a video made of another one, and of what a text says: changed, redrawn after its edges or depths, or
made larger. As an MP4 without sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from modelyard.errors import ModelyardError
from modelyard.media.encode import made_mp4
from modelyard.media.media import Made
from modelyard.media.room import Room
from modelyard.media.videos import decode_video
from modelyard.tasks.base import Call, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.model import Array
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.media_making import FPS, FrameCount, FrameRate, PromptText, VideoParams, make_each
from modelyard.tasks.shared.pictures import count_characters, empty_text, refuse_large, refuse_unread
from modelyard.tasks.shared.videos import EXAMPLE, VideoInputs

USUAL_FRAMES = 81
"""As many as are read where a request does not say: published models are made for 16 to 81."""


class VideoToVideoInputs(VideoInputs, frozen=True, kw_only=True):
    """The video, and what to make of it."""

    text: Annotated[
        PromptText | None, Meta(description="what the result shows, or what to change, on models that read a text")
    ] = None


class VideoToVideoParams(VideoParams, frozen=True, kw_only=True):
    """How to make it. Each model has some of these settings."""

    followed_here: ClassVar[frozenset[str]] = frozenset({"fps", "num_frames"})

    num_frames: Annotated[
        FrameCount | None,
        Meta(
            description="frames of the video that are read, at equal distances from the first to the last; by default "
            f"all, and {USUAL_FRAMES} of more"
        ),
    ] = None
    fps: Annotated[
        FrameRate | None,
        Meta(description="frames shown per second; by default so that it takes as long as the video that was sent"),
    ] = None
    strength: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        Meta(description="how far to go from the video: 1 keeps next to nothing of it; by default the model's own"),
    ] = None
    controlnet_conditioning_scale: Annotated[
        Annotated[float, Meta(ge=0, le=10)] | None,
        Meta(description="weight of edges, depths or poses that the video shows: 0 is none; by default 1"),
    ] = None


VideoToVideoOutput = Made
"""An MP4, H.264."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes one video for each call."""
    return make_each(model, calls, lambda frames, call: made_mp4(frames, rate_of(call, frames)), read_frames)


def read_frames(call: Call[Any, Any], model: Maker) -> dict[str, Any]:
    """What the model is given beside the call's params: the video's frames, how many they are where it asks, and a text
    where it reads one. Raises InvalidRequest, MemoryError."""
    from PIL import Image

    media = call.inputs.media
    refuse_unread(model, "video", media)
    frames = decode_video(media, frames=call.params.num_frames or USUAL_FRAMES, room=Room()).frames
    refuse_large(frames.shape[2], frames.shape[1], media)
    options = {"video": [Image.fromarray(frame) for frame in frames], **empty_text(call, model)}
    return {**options, "num_frames": len(frames)} if "num_frames" in model.settings else options


def rate_of(call: Call[Any, Any], frames: Array) -> float:
    """Frames per second of what has been made: as asked for, else such that it takes as long as the call's video."""
    if call.params.fps is not None:
        return float(call.params.fps)
    seconds = decode_video(call.inputs.media, frames=1).duration_s
    return min(max(len(frames) / seconds, 1.0), 60.0) if seconds > 0 else FPS


TASK = Task(
    id="video-to-video",
    summary="Make a video of another one, as a text says.",
    inputs=VideoToVideoInputs,
    params=VideoToVideoParams,
    output=VideoToVideoOutput,
    run=run,
    heads=("video-pipeline",),
    example={"base64": EXAMPLE, "text": "The same in winter", "params": {"num_inference_steps": 20, "strength": 0.6}},
    media="video",
    makes="video",
    wildcard="base64",
    max_batch=1,
    length=count_characters,
    sizes=sizes.videos_to_change,
)
