"""video-text-to-text: answers a conversation about videos, which the model sees as frames at equal distances."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.dialogue import (
    DialogueInputs,
    DialogueOutput,
    DialogueParams,
    answer_dialogues,
    dialogue_length,
    name_media,
)
from modelyard.tasks.shared.videos import EXAMPLE, MOST_FRAMES


class VideoTextToTextInputs(DialogueInputs, frozen=True, kw_only=True):
    """A conversation about videos."""


class VideoTextToTextParams(DialogueParams, frozen=True, kw_only=True):
    """How to watch, and how to answer."""

    num_frames: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_FRAMES)],
        Meta(description="frames that are shown of a video, at equal distances from the first to the last"),
    ] = 8


VideoTextToTextOutput = DialogueOutput
"""The assistant's message, in the form of the request; a list when several sequences were asked for."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each conversation."""
    return answer_dialogues(model, calls, ("video", "image"), calls[0].params.num_frames)


TASK = Task(
    id="video-text-to-text",
    summary="Answer a conversation about videos.",
    inputs=VideoTextToTextInputs,
    params=VideoTextToTextParams,
    output=VideoTextToTextOutput,
    run=run,
    heads=("image-text-to-text", "multimodal-lm"),
    example={
        "messages": [
            {
                "role": "user",
                "content": [{"type": "video", "base64": EXAMPLE}, {"type": "text", "text": "What happens here?"}],
            }
        ]
    },
    streams=True,
    media="video",
    prepare=name_media,
    list_wildcard="messages",
    max_batch=8,
    length=dialogue_length,
    sizes=sizes.with_a_question(sizes.videos),
)
