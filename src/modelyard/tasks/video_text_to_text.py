"""video-text-to-text: answers a conversation about videos, which the model sees as frames at equal distances."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from modelyard.tasks.shared.conversation import ChatOutput
from modelyard.tasks.shared.media_chat import MediaChatInputs, media_chat_task
from modelyard.tasks.shared.sizes import videos
from modelyard.tasks.shared.spoken_answer import SpokenParams
from modelyard.tasks.shared.videos import EXAMPLE, MOST_FRAMES


class VideoTextToTextInputs(MediaChatInputs, frozen=True, kw_only=True):
    """A conversation about videos."""


class VideoTextToTextParams(SpokenParams, frozen=True, kw_only=True):
    """How a video is shown, and how to answer."""

    num_frames: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_FRAMES)],
        Meta(description="frames that are shown of a video, at equal distances from the first to the last"),
    ] = 8


VideoTextToTextOutput = ChatOutput
"""The assistant's message, in the form of the request; a list when several sequences were asked for."""


TASK = media_chat_task(
    "video-text-to-text",
    summary="Answer a conversation about videos.",
    inputs=VideoTextToTextInputs,
    params=VideoTextToTextParams,
    kinds=("video", "image"),
    heads=("image-text-to-text", "multimodal-lm"),
    example=(EXAMPLE, "What happens here?"),
    sizes=videos,
    frames=lambda params: int(params.num_frames),
)
