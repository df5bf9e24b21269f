"""What closed models can be asked: the inputs of the tasks that models here have, and the settings that providers take.

Owns these settings. What a single provider does not take is refused where the request is translated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.errors import InferenceFailed
from modelyard.media.encode import SoundFormat
from modelyard.records.providers import CHAT, EMBED, LISTEN, PAINT, SPEAK, WRITE
from modelyard.tasks import (
    automatic_speech_recognition,
    chat,
    feature_extraction,
    text_generation,
    text_to_image,
    text_to_speech,
)
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.shared.generation_params import MOST_SEQUENCES, Bias, Deduction, Positive, Share
from modelyard.tasks.shared.logprobs import MOST_ALTERNATIVES
from modelyard.tasks.shared.media_blocks import name_media
from modelyard.tasks.shared.media_chat import MediaChatInputs
from modelyard.tasks.shared.transcripts import MOST_PROMPT

Stop = (
    Annotated[str, Meta(min_length=1)] | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=16)] | None
)
Word = Annotated[str, Meta(min_length=1, max_length=100)]


class WritingParams(Params, frozen=True, kw_only=True):
    """How text is written. What is not given is as the provider has it."""

    max_new_tokens: Annotated[Positive | None, Meta(description="most tokens to make")] = None
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=100)] | None, Meta(description="how random; 0: as little as the provider can")
    ] = None
    do_sample: Annotated[bool | None, Meta(description="false: temperature 0")] = None
    top_p: Annotated[Share | None, Meta(description="draw among the likeliest tokens of this share")] = None
    stop: Annotated[Stop, Meta(description="up to 16 strings; the answer ends before the first that occurs")] = None
    seed: Annotated[
        Annotated[int, Meta(ge=0, le=2**63 - 1)] | None, Meta(description="makes draws repeatable, as far as it can")
    ] = None
    frequency_penalty: Annotated[
        Deduction | None, Meta(description="above 0: a token becomes less likely each time it was made")
    ] = None
    presence_penalty: Annotated[
        Deduction | None, Meta(description="above 0: a token becomes less likely once it was made")
    ] = None
    logit_bias: Annotated[
        Annotated[dict[str, Bias], Meta(min_length=1, max_length=1024)] | None,
        Meta(description="by the provider's token id, what is added to its score, -100 to 100"),
    ] = None
    num_return_sequences: Annotated[
        Annotated[int, Meta(ge=1, le=MOST_SEQUENCES)] | None, Meta(description="answers to make, 1 to 16")
    ] = None


class ClosedChatParams(WritingParams, frozen=True, kw_only=True):
    """How to answer."""

    top_k: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="draw among the k likeliest tokens")] = None
    json_schema: Annotated[
        dict[str, Any] | None, Meta(description='the text is JSON by this schema; {"type": "object"}: any object')
    ] = None
    logprobs: Annotated[bool | None, Meta(description="say beside the output how likely each token was")] = None
    top_logprobs: Annotated[
        Annotated[int, Meta(ge=0, le=MOST_ALTERNATIVES)] | None,
        Meta(description="with logprobs: so many of the likeliest tokens at each place"),
    ] = None
    tool_choice: Annotated[
        str | dict[str, Any] | None,
        Meta(description='auto, none, required, or {"type": "function", "function": {"name": ...}}'),
    ] = None
    parallel_tool_calls: Annotated[bool | None, Meta(description="whether it may call several functions at once")] = (
        None
    )
    reasoning_effort: Annotated[
        Word | None, Meta(description="how much the model is to think first, in the provider's words: low, high")
    ] = None


class ClosedTextParams(WritingParams, frozen=True, kw_only=True):
    """How to continue a text."""

    return_full_text: Annotated[
        bool, Meta(description="true: the answer begins with the text that was sent; false: the continuation alone")
    ] = True


class ClosedEmbeddingParams(Params, frozen=True, kw_only=True):
    """How to make one vector of a text."""

    normalize: Annotated[bool | None, Meta(description="scale the vector to length 1")] = None
    dimensions: Annotated[
        Annotated[int, Meta(ge=1, le=65536)] | None, Meta(description="how many numbers a vector has")
    ] = None


class ClosedImageParams(Params, frozen=True, kw_only=True):
    """How to make an image."""

    width: Annotated[Annotated[int, Meta(ge=64, le=8192)] | None, Meta(description="in pixels, beside height")] = None
    height: Annotated[Annotated[int, Meta(ge=64, le=8192)] | None, Meta(description="in pixels, beside width")] = None
    quality: Annotated[Word | None, Meta(description="in the provider's words: low, high, hd")] = None


class ClosedSpeechParams(Params, frozen=True, kw_only=True):
    """How to say a text."""

    voice: Annotated[Word, Meta(description="the provider's name of a voice")] = "alloy"
    speaking_rate: Annotated[
        Annotated[float, Meta(ge=0.25, le=4)] | None, Meta(description="2 speaks twice as fast")
    ] = None
    audio_format: Annotated[SoundFormat, Meta(description="wav, mp3, flac, opus, aac or pcm")] = "wav"


class ClosedTranscriptionParams(Params, frozen=True, kw_only=True):
    """How to write down what is said."""

    language: Annotated[Word | None, Meta(description="the language spoken: en, de, ...")] = None
    prompt: Annotated[
        Annotated[str, Meta(max_length=MOST_PROMPT)] | None,
        Meta(description="words that the model is to know: what was said before, or how names are spelled"),
    ] = None
    temperature: Annotated[Annotated[float, Meta(ge=0, le=1)] | None, Meta(description="how random")] = None
    return_timestamps: Annotated[
        bool | Literal["word"], Meta(description="true: the output has the parts of the text with their times")
    ] = False


def ask_elsewhere(_model: Any, calls: Sequence[Call[Any, Any]]) -> list[InferenceFailed]:
    """No model here answers these."""
    return [InferenceFailed("Only its provider runs this model.") for _ in calls]


def closed(task: Task, params: type[Params], **changed: Any) -> Task:
    """A task as providers offer it."""
    return replace(task, params=params, run=ask_elsewhere, generation=None, sizes=None, closed=True, **changed)


TASKS: Mapping[str, Task] = {
    CHAT: closed(chat.TASK, ClosedChatParams, inputs=MediaChatInputs, media="image", prepare=name_media),
    WRITE: closed(text_generation.TASK, ClosedTextParams),
    EMBED: closed(feature_extraction.TASK, ClosedEmbeddingParams),
    PAINT: closed(text_to_image.TASK, ClosedImageParams),
    SPEAK: closed(text_to_speech.TASK, ClosedSpeechParams),
    LISTEN: closed(automatic_speech_recognition.TASK, ClosedTranscriptionParams, streams=False),
}
"""By id, which is the one that a model here would have for it."""
