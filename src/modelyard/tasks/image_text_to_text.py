"""image-text-to-text: answers a conversation about images."""

from __future__ import annotations

from modelyard.tasks.shared.conversation import ChatOutput
from modelyard.tasks.shared.images import EXAMPLE
from modelyard.tasks.shared.media_chat import MediaChatInputs, media_chat_task
from modelyard.tasks.shared.sizes import images
from modelyard.tasks.shared.spoken_answer import SpokenParams


class ImageTextToTextInputs(MediaChatInputs, frozen=True, kw_only=True):
    """A conversation about images."""


class ImageTextToTextParams(SpokenParams, frozen=True, kw_only=True):
    """How to answer."""


ImageTextToTextOutput = ChatOutput
"""The assistant's message, in the form of the request; a list when several sequences were asked for."""


TASK = media_chat_task(
    "image-text-to-text",
    summary="Answer a conversation about images.",
    inputs=ImageTextToTextInputs,
    params=ImageTextToTextParams,
    kinds=("image",),
    heads=("image-text-to-text",),
    example=(EXAMPLE, "What is in this image?"),
    sizes=images,
)
