"""What was said, with the settings of saying it: shared by every way of turning speech into text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.hints import means
from modelyard.tasks.shared.generation_params import GenerationParams

MOST_PROMPT = 10_000
"""Characters of a prompt. Of a longer one than Whisper has room for, the end is read."""


class Chunk(msgspec.Struct, frozen=True):
    """A stretch of speech."""

    timestamp: Annotated[
        tuple[float, float], means("time", "its begin and end in the sound, in seconds from the start")
    ]
    text: Annotated[str, means("text", "what is said in it")]
    speaker: Annotated[
        int | msgspec.UnsetType, Meta(description="who says it, counted from 0 or 1; only of models that tell speakers")
    ] = msgspec.UNSET


class TimedText(msgspec.Struct, frozen=True):
    """A transcript that knows when each part was said."""

    text: Annotated[str, means("text", "the whole transcript")]
    chunks: Annotated[list[Chunk], Meta(description="its parts, in order")]
    language: Annotated[
        str | msgspec.UnsetType,
        Meta(description="the code of the language spoken, of models that are told it or detect it"),
    ] = msgspec.UNSET


class SpeechParams(GenerationParams, frozen=True, kw_only=True):
    """How speech becomes text. The settings of generation apply to models that generate (Whisper and its kin)."""

    return_timestamps: Annotated[
        bool | Literal["word", "char"],
        Meta(
            description="true: the output has the parts of the text with their times: phrases (Whisper, and models "
            "that tell speakers) or words (CTC, RNNT, TDT); word: words, also from Whisper; char: letters, from CTC "
            "models"
        ),
    ] = False
    language: Annotated[
        str | None,
        Meta(
            description="the language spoken: en, de, ..., for models that are told it (Whisper, Canary, Qwen3-ASR, "
            "Voxtral, ...); by default they detect it, or take their own default"
        ),
    ] = None
    prompt: Annotated[
        Annotated[str, Meta(max_length=MOST_PROMPT)] | None,
        Meta(
            description="words that the model is to know: for Whisper what was said before, or how names are spelled; "
            "for models that read a request its context, or the instruction in place of their own"
        ),
    ] = None
    task: Annotated[
        Literal["transcribe", "translate"] | None,
        Meta(
            description="for models that translate (multilingual Whisper, Canary): transcribe, or translate into "
            "English; transcribe by default"
        ),
    ] = None
    chunk_length_s: Annotated[
        Annotated[float, Meta(ge=0, le=600)] | None,
        Meta(
            description="CTC models: seconds of sound in one pass, longer sound runs in overlapping passes; 30 by "
            "default, 0 is all at once. Whisper has windows of its own length"
        ),
    ] = None
    # A list of two, not a tuple: with a union of a bounded float and a tuple, msgspec 0.22 crashes in the garbage
    # collector once a value was refused.
    stride_length_s: Annotated[
        Annotated[float, Meta(ge=0, le=300)]
        | Annotated[list[Annotated[float, Meta(ge=0, le=300)]], Meta(min_length=2, max_length=2)]
        | None,
        Meta(
            description="CTC models: seconds at either end of a pass that only give context, one number or "
            "[left, right]; a sixth of chunk_length_s by default"
        ),
    ] = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for settings that contradict each other."""
        super().__post_init__()
        if (self.num_return_sequences or 1) > 1:
            raise InvalidRequest(field="params.num_return_sequences", got=self.num_return_sequences, accepted="1")
        length, (left, right) = self.passes()
        if length and left + right >= length:
            raise InvalidRequest(
                field="params.stride_length_s",
                got=self.stride_length_s,
                accepted=f"less than the {length:g} s of chunk_length_s, both ends together",
            )

    def passes(self) -> tuple[float, tuple[float, float]]:
        """Seconds in a pass, 0 for all at once, and seconds of context at its left and right end."""
        length = 30.0 if self.chunk_length_s is None else self.chunk_length_s
        stride = length / 6 if self.stride_length_s is None else self.stride_length_s
        left, right = stride if isinstance(stride, list) else (stride, stride)
        return length, (left, right)


@dataclass(frozen=True, slots=True)
class Transcript:
    """A transcript; `chunks` when times were asked for. `language`: its code, where it is known."""

    text: str
    chunks: Sequence[Chunk] | None = None
    language: str | None = None

    def output(self) -> Any:
        """What the client gets."""
        if self.chunks is None:
            return self.text
        return TimedText(self.text, list(self.chunks), self.language or msgspec.UNSET)


def refuse_unread(params: SpeechParams, *names: str) -> None:
    """Raises InvalidRequest for the first of these params that is given, for a model that does not read them."""
    for name in names:
        if getattr(params, name):
            accepted = "nothing: this model has no such choice"
            raise InvalidRequest(field=f"params.{name}", got=getattr(params, name), accepted=accepted)
