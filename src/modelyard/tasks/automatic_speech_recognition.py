"""automatic-speech-recognition: what is said in a sound, by models that spell (CTC) and models that write (Whisper)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.ctc import spell
from modelyard.tasks.shared.generation import Prompt, write
from modelyard.tasks.shared.sounds import EXAMPLE, SoundInputs, features_of, hear, sound_length
from modelyard.tasks.shared.transcripts import SpeechParams, TimedText, Transcript
from modelyard.tasks.shared.whisper import dictate


class AutomaticSpeechRecognitionInputs(SoundInputs, frozen=True, kw_only=True):
    """The speech to write down."""


class AutomaticSpeechRecognitionParams(SpeechParams, frozen=True, kw_only=True):
    """How to write it down."""


AutomaticSpeechRecognitionOutput = str | TimedText
"""The text; with return_timestamps, the text and its parts with their times in seconds."""

Way = Callable[[Model, Sequence[Call[Any, Any]], Sequence[Array]], Sequence[Transcript | ModelyardError]]


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Transcribes each sound, by the way that the model knows. A stream carries the text."""
    sounds = [listen(model, call) for call in calls]
    heard = [(call, sound) for call, sound in zip(calls, sounds, strict=True) if not isinstance(sound, ModelyardError)]
    if not heard:
        return list(sounds)
    try:
        transcripts = iter(choose_way(model)(model, [call for call, _ in heard], [sound for _, sound in heard]))
    except InvalidRequest as error:  # about the params, which all of them share
        transcripts = iter([error] * len(heard))
    return [sound if isinstance(sound, ModelyardError) else finish(next(transcripts)) for sound in sounds]


def listen(model: Model, call: Call[AutomaticSpeechRecognitionInputs, Any]) -> Array | ModelyardError:
    """The samples, or why there are none."""
    try:
        return hear(model, call.inputs.media)
    except InvalidRequest as error:
        return error


def finish(transcript: Transcript | ModelyardError) -> Any:
    """The output of a transcript; an error stays what it is."""
    return transcript if isinstance(transcript, ModelyardError) else transcript.output()


def choose_way(model: Model) -> Way:
    """How this model turns sound into text."""
    if not model.config.get("is_encoder_decoder"):
        return spell_all
    return dictate if model.config.get("model_type") == "whisper" else write_all


def spell_all(model: Model, calls: Sequence[Call[Any, Any]], sounds: Sequence[Array]) -> list[Transcript]:
    """By CTC. What streams arrives in one piece."""
    transcripts = spell(model, sounds, calls[0].params)
    for call, transcript in zip(calls, transcripts, strict=True):
        if call.emit is not None:
            call.emit(transcript.text)
    return transcripts


def write_all(
    model: Model, calls: Sequence[Call[Any, Any]], sounds: Sequence[Array]
) -> list[Transcript | ModelyardError]:
    """By an encoder-decoder without marks for times, languages and tasks. Raises InvalidRequest for such params."""
    params: SpeechParams = calls[0].params
    for name in ("return_timestamps", "language", "task"):
        if getattr(params, name):
            raise InvalidRequest(
                field=f"params.{name}", got=getattr(params, name), accepted="nothing: this model has no such choice"
            )
    prompts = [
        Prompt(call, {}, media=features_of(model, sound, return_attention_mask=True))
        for call, sound in zip(calls, sounds, strict=True)
    ]
    return [
        Transcript(text) if isinstance(text, str) else InvalidRequest("params: one text only") if isinstance(text, list)
        else text
        for text in write(model, prompts, left=False)
    ]  # fmt: skip


TASK = Task(
    id="automatic-speech-recognition",
    summary="Write down what is said in a sound.",
    inputs=AutomaticSpeechRecognitionInputs,
    params=AutomaticSpeechRecognitionParams,
    output=AutomaticSpeechRecognitionOutput,
    run=run,
    heads=("speech-seq2seq", "ctc"),
    example={"base64": EXAMPLE},
    streams=True,
    media="audio",
    wildcard="url",
    max_batch=8,
    length=sound_length,
    sizes=sizes.sounds_to_transcribe,
)
