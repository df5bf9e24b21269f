"""audio-text-to-text: answers a conversation about sounds."""

from __future__ import annotations

from modelyard.tasks.shared.conversation import ChatOutput
from modelyard.tasks.shared.media_chat import MediaChatInputs, media_chat_task
from modelyard.tasks.shared.sizes import sounds
from modelyard.tasks.shared.sounds import EXAMPLE
from modelyard.tasks.shared.spoken_answer import SpokenParams


class AudioTextToTextInputs(MediaChatInputs, frozen=True, kw_only=True):
    """A conversation about sounds."""


class AudioTextToTextParams(SpokenParams, frozen=True, kw_only=True):
    """How to answer."""


AudioTextToTextOutput = ChatOutput
"""The assistant's message, in the form of the request; a list when several sequences were asked for."""


TASK = media_chat_task(
    "audio-text-to-text",
    summary="Answer a conversation about sounds.",
    inputs=AudioTextToTextInputs,
    params=AudioTextToTextParams,
    kinds=("audio",),
    heads=("multimodal-lm", "seq2seq-lm"),
    example=(EXAMPLE, "What is said here?"),
    sizes=sounds,
)
