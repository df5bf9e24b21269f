"""`POST /v1/audio/transcriptions`, `/translations` and `/speech`: sounds to texts, texts to sounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.kept_files import read_made
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.openai.audio import (
    SpeechBody,
    TimedSegment,
    TimedWord,
    Transcription,
    TranscriptionBody,
    TranslationBody,
)
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import encode, event, refuse_task, split, timing
from modelyard.gateway.surfaces.openai.base import DONE, OpenAISurface, fields_of_form
from modelyard.gateway.uploads import read_body
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.records.providers import LISTEN, SPEAK
from modelyard.tasks.base import Task
from modelyard.tasks.shared.spoken_answer import USUAL

LISTENS = "automatic-speech-recognition"
SPEAKS = ("text-to-speech", "text-to-audio")
FILE = "base64"
"""Where a form's file is, whatever it was called."""
GRANULARITIES = "timestamp_granularities"
VOICES = frozenset({
    "alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse", "marin", "cedar",
    "default",
})  # fmt: skip
"""OpenAI's voices, and what stands for the model's own."""
PLAIN, SRT, VTT = "text/plain; charset=utf-8", "application/x-subrip; charset=utf-8", "text/vtt; charset=utf-8"
TIMED = ("srt", "vtt", "verbose_json")


class Asked(msgspec.Struct, frozen=True):
    """A request as it is answered."""

    body: Any
    extras: Mapping[str, Any]
    media: Mapping[str, Any]


class Transcriptions(OpenAISurface):
    """Speech to text, in its own language."""

    asks = LISTEN
    names: ClassVar[Mapping[str, str]] = {FILE: "file", "media": "file", "params.return_timestamps": GRANULARITIES}
    shape: ClassVar[type[TranslationBody]] = TranscriptionBody
    task: ClassVar[str] = "transcribe"

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """A form with a file, or JSON with the file in base64."""
        given = await read_body(http, self._max_body_bytes)
        fields = fields_of_form(given)
        media = {FILE: fields.pop(FILE)} if FILE in fields else {}
        body, extras = split(self.shape, fields)
        if getattr(body, "stream", False) and body.response_format in TIMED:
            accepted = "json or text, with stream true"
            raise InvalidRequest(field="response_format", got=body.response_format, accepted=accepted)
        return UnifiedBody(body.model, timing(body.timeout), Asked(body, extras, media), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id != LISTENS:
            raise refuse_task(task, LISTENS)
        asked: Asked = read.asked
        if not asked.media:
            raise InvalidRequest("file: missing; accepted: a file of sound", field="file")
        given = {
            "temperature": asked.body.temperature,
            "language": getattr(asked.body, "language", None),
            "prompt": asked.body.prompt or None,
            "return_timestamps": wanted_times(asked.body),
        }
        params = {**asked.extras, **{name: value for name, value in given.items() if value is not None}}
        if self.task != "transcribe":
            params["task"] = self.task
        return {**asked.media, "params": params, "stream": getattr(asked.body, "stream", False)}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The text in the format that was asked for."""
        body = request.asked.body
        text, chunks = parts_of(outcome.output)
        if request.inference.stream:
            return Payload(event({"type": "transcript.text.done", "text": text}) + DONE)
        match body.response_format:
            case "text":
                return Payload(f"{text}\n".encode(), PLAIN)
            case "srt":
                return Payload(subtitles(chunks, srt_time, numbered=True).encode(), SRT)
            case "vtt":
                return Payload(("WEBVTT\n\n" + subtitles(chunks, vtt_time, numbered=False)).encode(), VTT)
            case "verbose_json":
                return Payload(encode(self.describe(body, outcome.output, chunks)))
        return Payload(encode(Transcription(text=text)))

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of the text."""
        return event({"type": "transcript.text.delta", "delta": text})

    def describe(self, body: Any, output: Any, chunks: Sequence[Mapping[str, Any]]) -> Transcription:
        """The text with its times."""
        text, heard = (output, None) if isinstance(output, str) else (output["text"], output.get("language"))
        words = wanted_times(body) == "word"
        ends = [float(each["timestamp"][1]) for each in chunks]
        return Transcription(
            text=text,
            task=self.task,
            language=getattr(body, "language", None) or heard or "unknown",
            duration=max(ends, default=0.0),
            segments=None if words else [segment(at, each) for at, each in enumerate(chunks)],
            words=[word(each) for each in chunks] if words else None,
        )


class Translations(Transcriptions):
    """Speech to text, in English."""

    shape = TranslationBody
    task = "translate"


class Speech(OpenAISurface):
    """Text to speech."""

    asks = SPEAK
    names: ClassVar[Mapping[str, str]] = {
        "text": "input", "params.voice": "voice", "params.speaker_id": "voice", "params.speaking_rate": "speed",
        "params.audio_format": "response_format",
    }  # fmt: skip

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The text."""
        body, extras = await self.read_json(http, SpeechBody)
        return UnifiedBody(body.model, timing(body.timeout), Asked(body, extras, {}), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id not in SPEAKS:
            raise refuse_task(task, " or ".join(SPEAKS))
        body: SpeechBody = read.asked.body
        params = {**read.asked.extras, "audio_format": body.response_format}
        if task.closed:
            params |= {} if body.voice in (None, "default") else {"voice": str(body.voice)}
        else:
            params |= params_of_voice(body.voice)
        if body.speed not in (None, 1):
            params["speaking_rate"] = body.speed
        return {"text": body.input, "params": params, "json": False}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The file."""
        made = read_made(outcome.output)
        return Payload(made.data, made.media_type)


def wanted_times(body: Any) -> bool | str | None:
    """What times are asked of the model; None: none."""
    given = getattr(body, GRANULARITIES, None)
    wanted = given[0] if isinstance(given, list) and given else given
    if wanted == "word" and body.response_format == "verbose_json":
        return "word"
    return True if body.response_format in TIMED else None


def parts_of(output: Any) -> tuple[str, Sequence[Mapping[str, Any]]]:
    """The text, and its parts with their times where there are any."""
    return (output, ()) if isinstance(output, str) else (output["text"], output["chunks"])


def segment(place: int, chunk: Mapping[str, Any]) -> TimedSegment:
    """A stretch of speech."""
    start, end = chunk["timestamp"]
    return TimedSegment(id=place, start=start, end=end, text=chunk["text"])


def word(chunk: Mapping[str, Any]) -> TimedWord:
    """A word."""
    start, end = chunk["timestamp"]
    return TimedWord(word=chunk["text"].strip(), start=start, end=end)


def subtitles(chunks: Sequence[Mapping[str, Any]], show: Callable[[float], str], *, numbered: bool) -> str:
    """The parts as subtitles, each time as `show` writes it."""
    shown = []
    for place, chunk in enumerate(chunks, start=1):
        start, end = (show(float(each)) for each in chunk["timestamp"])
        number = f"{place}\n" if numbered else ""
        shown.append(f"{number}{start} --> {end}\n{chunk['text'].strip()}\n\n")
    return "".join(shown)


def srt_time(seconds: float) -> str:
    """A moment as SubRip writes it."""
    return vtt_time(seconds).replace(".", ",")


def vtt_time(seconds: float) -> str:
    """A moment as WebVTT writes it: hours, minutes, seconds and milliseconds."""
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02}:{whole // 60_000 % 60:02}:{whole // 1000 % 60:02}.{whole % 1000:03}"


def params_of_voice(voice: str | int | None) -> dict[str, Any]:
    """The voice that is asked for, as a number or by its name; nothing: the model's own. The model knows its voices."""
    if voice is None or voice in VOICES:
        return {}
    if isinstance(voice, str) and not (voice.isascii() and voice.isdigit()):
        return {"voice": voice}
    return {"speaker_id": int(str(voice)[:18])}


def voice_of(voice: str) -> str:
    """The voice of a model that says its answers: OpenAI's stand for the model's own."""
    return USUAL if voice in VOICES else voice
