"""What `/v1/audio/*` reads and answers. Only describes: `surfaces.openai.audio` speaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from msgspec import Meta

from modelyard.gateway.shapes.base import Fallbacks, described
from modelyard.gateway.shapes.openai.base import OpenAIShape
from modelyard.gateway.shapes.openai.writing import NO_EFFECT
from modelyard.tasks.shared.media_making import MOST_CHARACTERS
from modelyard.tasks.shared.transcripts import MOST_PROMPT

TIMEOUT = described("Seconds that the request may take in all.", accepted="a number of seconds above 0")
TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]


class TranslationBody(OpenAIShape, frozen=True, kw_only=True):
    """The fields of a form beside its file; `base64` is a file in JSON."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    response_format: Annotated[
        TranscriptFormat, described("json, text, or with times: verbose_json, srt, vtt (subtitles).")
    ] = "json"
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        described("0 takes the likeliest; by default as the model says.", accepted="a number from 0 to 1"),
    ] = None
    prompt: Annotated[
        Annotated[str, Meta(max_length=MOST_PROMPT)] | None,
        described(
            "Words that the model is to know, where it reads some: what was said before, or how names are spelled.",
            accepted=f"a text of at most {MOST_PROMPT} characters",
        ),
    ] = None
    timeout: Annotated[float | None, TIMEOUT] = None


class TranscriptionBody(TranslationBody, frozen=True, kw_only=True):
    """The fields of a form beside its file; `base64` is a file in JSON."""

    language: Annotated[str | None, described("The language spoken: en, de, ...; by default it is detected.")] = None
    timestamp_granularities: Annotated[
        Literal["segment", "word"] | Annotated[list[Literal["segment", "word"]], Meta(max_length=1)] | None,
        described(
            "Of verbose_json: segment, or word where the model has the times of words.", accepted='"segment" or "word"'
        ),
    ] = None
    stream: Annotated[bool, described("Send the text as events, as it is made; with json or text.")] = False
    include: Annotated[Annotated[list[str], Meta(max_length=0)] | None, described("Nothing.", accepted="nothing")] = (
        None
    )
    chunking_strategy: Annotated[Literal["auto"] | None, described(NO_EFFECT, accepted='"auto"')] = None


class TimedSegment(OpenAIShape, frozen=True, kw_only=True):
    """A stretch of speech."""

    id: Annotated[int, described("From 0.")]
    start: Annotated[float, described("Seconds from the start of the sound.")]
    end: Annotated[float, described("Its end, likewise.")]
    text: Annotated[str, described("What is said.")]


class TimedWord(OpenAIShape, frozen=True, kw_only=True):
    """A word."""

    word: Annotated[str, described("The word.")]
    start: Annotated[float, described("Seconds from the start of the sound.")]
    end: Annotated[float, described("Its end, likewise.")]


class Transcription(OpenAIShape, frozen=True, kw_only=True, omit_defaults=True):
    """What is said; all but the text with verbose_json."""

    text: Annotated[str, described("What is said.")]
    task: Annotated[str | None, described("transcribe, or translate.")] = None
    language: Annotated[
        str | None, described("The language that was asked for, or heard; unknown, where the model does not tell.")
    ] = None
    duration: Annotated[float | None, described("Seconds from the start of the sound to the end of speech.")] = None
    segments: Annotated[Sequence[TimedSegment] | None, described("Its stretches, in order.")] = None
    words: Annotated[Sequence[TimedWord] | None, described("Its words, where they were asked for.")] = None


class SpeechBody(OpenAIShape, frozen=True, kw_only=True):
    """A text to say."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    input: Annotated[
        str,
        Meta(min_length=1, max_length=MOST_CHARACTERS),
        described("The text.", accepted=f"a text of 1 to {MOST_CHARACTERS} characters"),
    ]
    voice: Annotated[
        str | int | None,
        described(
            "The name or the number of one of the model's voices; a name of OpenAI's voices, or `default`, is the "
            "model's own.",
            accepted="a name or a number of the model's voices, default, or a name of OpenAI's",
        ),
    ] = None
    response_format: Annotated[
        Literal["mp3", "opus", "aac", "flac", "wav", "pcm"],
        described("The file's format; pcm: 16 bits, little-endian, 24,000 samples per second."),
    ] = "mp3"
    speed: Annotated[
        Annotated[float, Meta(ge=0.25, le=4)] | None,
        described("2 speaks twice as fast, on models that can.", accepted="a number from 0.25 to 4"),
    ] = None
    instructions: Annotated[Literal[""] | None, described("Nothing.", accepted="nothing")] = None
    stream_format: Annotated[Literal["audio"] | None, described("audio: the file itself.", accepted='"audio"')] = None
    timeout: Annotated[float | None, TIMEOUT] = None
