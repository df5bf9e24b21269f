"""video-classification: how well each of the model's labels fits a video, judged by frames at equal distances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.arrays import answer_logits
from modelyard.tasks.shared.lengths import media_size
from modelyard.tasks.shared.scores import Label, LabelParams, label
from modelyard.tasks.shared.videos import EXAMPLE, VideoInputs, decode_frames


class VideoClassificationInputs(VideoInputs, frozen=True, kw_only=True):
    """The video to classify."""


class VideoClassificationParams(LabelParams, frozen=True, kw_only=True):
    """What to do with the scores."""


VIDEOS = "pixel_values_videos"
"""How models call videos that the library prepares as such, not as images."""
FRAMES = 16
"""That a model sees of a video, where its config does not say."""

VideoClassificationOutput = list[Label]
"""Labels with their scores, best first."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Scores each video against the model's labels. Videos of one size share a pass."""
    return answer_logits(model, calls, read_frames, lambda call, logits: label(model, call.params, logits.ravel()))


def read_frames(model: Model, call: Call[VideoClassificationInputs, Any]) -> dict[str, Array]:
    """The video's frames as the model wants them: (1, frames, channels, height, width). Raises InvalidRequest."""
    frames = decode_frames(call.inputs.media, frames_of(model.config))
    videos = getattr(model.processor, "video_processor", model.processor)
    if VIDEOS in videos.model_input_names:  # which takes the frames together
        pixels = videos([frames], return_tensors="pt", input_data_format="channels_last", do_sample_frames=False)
        return {VIDEOS: np.asarray(pixels[VIDEOS])}
    pixels = model.processor(list(frames), return_tensors="np", input_data_format="channels_last")["pixel_values"]
    pixels = np.asarray(pixels)
    return {"pixel_values": pixels if pixels.ndim == 5 else pixels[None]}


def frames_of(config: Mapping[str, Any]) -> int:
    """How many frames a model sees of a video."""
    return int(config.get("num_frames") or config.get("frames_per_clip") or FRAMES)


TASK = Task(
    id="video-classification",
    summary="Say which of the model's labels fit a video.",
    inputs=VideoClassificationInputs,
    params=VideoClassificationParams,
    output=VideoClassificationOutput,
    run=run,
    heads=("video-classification",),
    example={"base64": EXAMPLE},
    media="video",
    wildcard="url",
    max_batch=4,
    length=lambda call: media_size(call.inputs.media),
    sizes=sizes.videos,
)
