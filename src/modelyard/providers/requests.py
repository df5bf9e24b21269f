"""From the unified format to what OpenAI's API calls things, which the library translates on for each provider. Pure.

Every setting that a provider may lack is named here, so that its refusal names the field that the client has sent.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.media import sniff
from modelyard.providers.asked import Asked
from modelyard.providers.failures import unsupported

NAMES = {
    "max_new_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "stop": "stop",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "logit_bias": "logit_bias",
    "num_return_sequences": "n",
    "json_schema": "response_format",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
    "tool_choice": "tool_choice",
    "parallel_tool_calls": "parallel_tool_calls",
    "reasoning_effort": "reasoning_effort",
    "dimensions": "dimensions",
}
"""Params of ours → OpenAI's settings."""
ANY_OBJECT = {"type": "object"}
TEXT_TYPES = ("text", "input_text", "output_text")
SOUND_FORMATS = {sniff.WAV.media_type: "wav", sniff.MP3.media_type: "mp3"}
"""Formats of sound that providers read in conversations."""


def settings_of(asked: Asked, supported: Collection[str]) -> dict[str, Any]:
    """The settings of a text that is to be written. `supported`: those that the provider takes of this model.

    Raises InvalidRequest for one that it does not take.
    """
    params = {name: value for name, value in asked.params.items() if value is not None}
    if params.pop("do_sample", None) is False:
        params["temperature"] = 0
    if params.get("num_return_sequences") == 1:
        del params["num_return_sequences"]
    settings: dict[str, Any] = {}
    if (top_k := params.pop("top_k", None)) is not None:
        if not asked.takes_top_k:
            raise unsupported(asked.provider, "params.top_k", top_k)
        settings["top_k"] = top_k
    for name, theirs in NAMES.items():
        if name not in params:
            continue
        value = params[name]
        if theirs not in supported:
            raise unsupported(asked.provider, f"params.{name}", value)
        settings[theirs] = form_of(value) if name == "json_schema" else value
    return settings


def form_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema as `response_format`."""
    if schema == ANY_OBJECT:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def messages_of(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The conversation. Raises InvalidRequest for media that no provider reads so."""
    given: Sequence[Mapping[str, Any]] = fields.get("messages") or [
        {"role": "user", "content": fields.get("text") or ""}
    ]
    messages = [message_of(message, f"messages[{at}]") for at, message in enumerate(given)]
    media = fields.get("media")
    if media is not None:
        last = max((at for at, each in enumerate(messages) if each["role"] == "user"), default=len(messages) - 1)
        content = messages[last]["content"] or []
        texts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        messages[last]["content"] = [media_block("image", media, "media"), *texts]
    return messages


def message_of(message: Mapping[str, Any], where: str) -> dict[str, Any]:
    """One message."""
    shown = {name: value for name, value in message.items() if value is not None}
    content = message.get("content")
    if isinstance(content, list):
        content = [block_of(block, f"{where}.content[{at}]") for at, block in enumerate(content)]
    shown["content"] = content
    if shown.get("role") == "developer":
        shown["role"] = "system"
    return shown


def block_of(block: Mapping[str, Any], where: str) -> dict[str, Any]:
    """One block of a message. Raises InvalidRequest."""
    kind = block.get("type", "text")
    if kind in TEXT_TYPES and isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    if "media" in block and kind in ("image", "audio"):
        return media_block(kind, block["media"], where)
    raise InvalidRequest(field=f"{where}.type", got=kind, accepted="text with a text, image, or audio")


def media_block(kind: str, media: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Media inside a message. Raises InvalidRequest for a format that providers do not read."""
    data = media["data"]
    encoded = base64.b64encode(data).decode("ascii")
    found = sniff.sniff(data)
    media_type = "application/octet-stream" if found is None else found.media_type
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{encoded}"}}
    if media_type not in SOUND_FORMATS:
        raise InvalidRequest(field=where, got=media_type, accepted="WAV or MP3")
    return {"type": "input_audio", "input_audio": {"data": encoded, "format": SOUND_FORMATS[media_type]}}


def mirrors_blocks(fields: Mapping[str, Any]) -> bool:
    """Whether the answer is to be a list of blocks, as the last message is."""
    messages: Sequence[Mapping[str, Any]] = fields.get("messages") or ()
    return len(messages) > 0 and isinstance(messages[-1].get("content"), list)


def raw_json(text: Any) -> Any:
    """What a provider has answered, as data where it is JSON."""
    if not isinstance(text, str):
        return None
    try:
        return json.loads(text)
    except ValueError:
        return None
