"""audio-text-to-text: answers a conversation about sounds."""

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
from modelyard.tasks.shared.sounds import EXAMPLE


class AudioTextToTextInputs(DialogueInputs, frozen=True, kw_only=True):
    """A conversation about sounds."""


class AudioTextToTextParams(DialogueParams, frozen=True, kw_only=True):
    """How to answer."""


AudioTextToTextOutput = DialogueOutput
"""The assistant's message, in the form of the request; a list when several sequences were asked for."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each conversation."""
    return answer_dialogues(model, calls, ("audio",))


TASK = Task(
    id="audio-text-to-text",
    summary="Answer a conversation about sounds.",
    inputs=AudioTextToTextInputs,
    params=AudioTextToTextParams,
    output=AudioTextToTextOutput,
    run=run,
    heads=("multimodal-lm",),
    example={
        "messages": [
            {
                "role": "user",
                "content": [{"type": "audio", "base64": EXAMPLE}, {"type": "text", "text": "What is said here?"}],
            }
        ]
    },
    streams=True,
    media="audio",
    prepare=name_media,
    list_wildcard="messages",
    max_batch=8,
    length=dialogue_length,
    sizes=sizes.with_a_question(sizes.sounds),
)
