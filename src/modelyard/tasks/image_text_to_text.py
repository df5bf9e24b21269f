"""image-text-to-text: answers a conversation about images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
from modelyard.tasks.shared.images import EXAMPLE


class ImageTextToTextInputs(DialogueInputs, frozen=True, kw_only=True):
    """A conversation about images."""


class ImageTextToTextParams(DialogueParams, frozen=True, kw_only=True):
    """How to answer."""


ImageTextToTextOutput = DialogueOutput
"""The assistant's message, in the form of the request; a list when several sequences were asked for."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each conversation."""
    return answer_dialogues(model, calls, ("image",))


TASK = Task(
    id="image-text-to-text",
    summary="Answer a conversation about images.",
    inputs=ImageTextToTextInputs,
    params=ImageTextToTextParams,
    output=ImageTextToTextOutput,
    run=run,
    heads=("image-text-to-text",),
    example={
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "base64": EXAMPLE}, {"type": "text", "text": "What is in this image?"}],
            }
        ]
    },
    streams=True,
    media="image",
    prepare=name_media,
    list_wildcard="messages",
    max_batch=8,
    length=dialogue_length,
    sizes=sizes.with_a_question(sizes.images),
)
