"""Blocks of media inside messages, brought from the ways that clients write them to one.

Runs on the gateway as well, before media is fetched: decodes nothing.
"""

from __future__ import annotations

from typing import Any

from modelyard.media.media import Kind
from modelyard.tasks.body import media_reference

KINDS: dict[str, Kind] = {
    "image": "image", "image_url": "image", "input_image": "image", "audio": "audio", "audio_url": "audio",
    "input_audio": "audio", "video": "video", "video_url": "video", "input_video": "video",
}  # fmt: skip
"""Types of blocks as clients write them, ours and OpenAI's → what the block holds."""


def name_media(fields: dict[str, Any]) -> dict[str, Any]:
    """The body's fields, each media block of its messages as {"type": "image", "media": a reference}.

    Done again, it changes nothing. What is malformed in another way is left to be named by the types. Raises
    InvalidRequest for a block without media.
    """
    messages = fields.get("messages")
    if not isinstance(messages, list):
        return fields
    return {**fields, "messages": [name_in_message(message, f"messages[{at}]") for at, message in enumerate(messages)]}


def name_in_message(message: Any, where: str) -> Any:
    """The message with its media blocks named."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    blocks = [name_in_block(block, f"{where}.content[{at}]") for at, block in enumerate(content)]
    return {**message, "content": blocks}


def name_in_block(block: Any, where: str) -> Any:
    """The block with a reference to its media, when it is a block of media."""
    kind = KINDS.get(str(block.get("type"))) if isinstance(block, dict) else None
    if kind is None or "media" in block:
        return block
    names = ("url", "base64", kind, f"{kind}_url", "input_audio", "data")
    value = next((block[name] for name in names if block.get(name) is not None), None)
    if isinstance(value, dict) and "data" in value:  # OpenAI's input_audio: {"data": ..., "format": ...}
        value = value["data"]
    return {"type": kind, "media": media_reference(value, where)}
