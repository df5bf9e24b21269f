"""What was said before in a conversation, as texts and sounds: how clients write it, and how models get it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.media.media import Media
from modelyard.media.room import Room
from modelyard.media.sounds import decode_sound
from modelyard.tasks.base import Call
from modelyard.tasks.maker import Maker
from modelyard.tasks.model import Array
from modelyard.tasks.shared.media_making import MOST_CHARACTERS

MOST_UTTERANCES = 32
MOST_SPEAKER_CHARACTERS = 64


class SaidText(msgspec.Struct, frozen=True, tag="text"):
    """The words."""

    text: Annotated[str, Meta(max_length=MOST_CHARACTERS, description="the words")]


class SaidSound(msgspec.Struct, frozen=True, tag="audio"):
    """The sound."""

    media: Annotated[Media, Meta(description="a recording: url or base64")]


class Said(msgspec.Struct, frozen=True):
    """What one speaker said."""

    role: Annotated[
        str, Meta(min_length=1, max_length=MOST_SPEAKER_CHARACTERS, description="who spoke: a number, 0 is the first")
    ]
    content: Annotated[
        str | list[SaidText | SaidSound],
        Meta(description='the words, or blocks: {"type": "text", "text"} and {"type": "audio", "url" or "base64"}'),
    ]


class Utterance(NamedTuple):
    """What one speaker said. `sound`: its recording, (samples,) float32 at the model's rate; None: there is none."""

    speaker: str
    text: str
    sound: Array | None = None


def read_utterances(call: Call[Any, Any], model: Maker) -> dict[str, Any]:
    """What the model is given beside the call's params: what was said before, where the call has it. Raises
    InvalidRequest."""
    said: Sequence[Said] | None = call.inputs.messages
    if said is None:
        return {}
    if "messages" not in model.settings:
        raise InvalidRequest(field="messages", got=f"{len(said)} messages", accepted="none: this model reads a text")
    room = Room()
    return {"messages": [read_utterance(each, model.rate, room) for each in said]}


def read_utterance(said: Said, rate: int, room: Room) -> Utterance:
    """One of them. Raises InvalidRequest for a sound that cannot be read, and for more than one."""
    if isinstance(said.content, str):
        return Utterance(said.role, said.content)
    text = " ".join(block.text for block in said.content if isinstance(block, SaidText))
    sounds = [block.media for block in said.content if isinstance(block, SaidSound)]
    if len(sounds) > 1:
        raise InvalidRequest(field=sounds[1].where, got="a second sound", accepted="one sound in a message")
    return Utterance(said.role, text, decode_sound(sounds[0], rate, room) if sounds else None)
