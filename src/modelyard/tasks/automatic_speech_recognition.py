"""automatic-speech-recognition: what is said in a sound, letter by letter (CTC), token by token along the sound (RNNT,
TDT), or as a text that is generated (Whisper and its kin, and models that are asked for it in words).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Task, attempt
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.ctc import transcribe_by_ctc
from modelyard.tasks.shared.generation import Generation, Prompt, Texts, each_sequence
from modelyard.tasks.shared.sounds import EXAMPLE, SoundInputs, features_of, read_sound, sound_length
from modelyard.tasks.shared.speech_requests import reads_requests, transcribe_on_request
from modelyard.tasks.shared.transcripts import SpeechParams, TimedText, refuse_unread
from modelyard.tasks.shared.transducer import is_transducer, transcribe_by_transducer
from modelyard.tasks.shared.whisper import transcribe_by_whisper


class AutomaticSpeechRecognitionInputs(SoundInputs, frozen=True, kw_only=True):
    """The speech to write down."""


class AutomaticSpeechRecognitionParams(SpeechParams, frozen=True, kw_only=True):
    """How to write it down."""


AutomaticSpeechRecognitionOutput = str | TimedText
"""The text; with return_timestamps, the text and its parts with their times in seconds."""


def generates(model: Model) -> bool:
    """Whether the model writes a sound down in one go, and is told nothing: an encoder-decoder without windows."""
    in_another_way = is_whisper(model) or is_transducer(model) or reads_requests(model)
    return bool(model.config.get("is_encoder_decoder")) and not in_another_way


def is_whisper(model: Model) -> bool:
    """Whether the model writes window by window; where a window begins depends on what was written of the last one."""
    return bool(model.config.get("model_type") == "whisper")


def prompts(model: Model, call: Call[AutomaticSpeechRecognitionInputs, SpeechParams]) -> list[Prompt]:
    """The sound's features, for a model without tokens for times, languages and tasks. Raises InvalidRequest."""
    refuse_unread(call.params, "return_timestamps", "language", "task", "prompt")
    sound = read_sound(model, call.inputs.media)
    return [Prompt(arrays=features_of(model, sound, return_attention_mask=True))]


def answer(_call: Call[Any, Any], texts: Texts) -> AutomaticSpeechRecognitionOutput:
    """The text."""
    (text,) = each_sequence(texts)
    return text


def transcribe(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each call in the way of the model. All params are equal."""
    sounds = [attempt(read_sound, model, call.inputs.media) for call in calls]
    readable = [
        (call, sound) for call, sound in zip(calls, sounds, strict=True) if not isinstance(sound, InvalidRequest)
    ]
    if not readable:
        return list(sounds)
    try:
        answers = iter(find_way(model)(model, [call for call, _ in readable], [sound for _, sound in readable]))
    except InvalidRequest as error:  # about the params, which all of them share
        return [sound if isinstance(sound, InvalidRequest) else error for sound in sounds]
    return [sound if isinstance(sound, InvalidRequest) else next(answers) for sound in sounds]


Way = Callable[[Model, Sequence[Call[Any, Any]], Sequence[Array]], Sequence[Any]]
"""From a batch's sounds to its outputs. Raises InvalidRequest about the params."""


def find_way(model: Model) -> Way:
    """How the model writes sounds down."""
    if is_whisper(model):
        return transcribe_by_whisper
    if is_transducer(model):
        return transcribe_by_transducer
    return transcribe_on_request if reads_requests(model) else transcribe_by_letters


def transcribe_by_letters(model: Model, calls: Sequence[Call[Any, Any]], sounds: Sequence[Array]) -> list[Any]:
    """Each sound's output by CTC. What streams arrives in one piece."""
    refuse_unread(calls[0].params, "prompt")
    transcripts = transcribe_by_ctc(model, sounds, calls[0].params)
    for call, transcript in zip(calls, transcripts, strict=True):
        if call.emit is not None:
            call.emit(transcript.text)
    return [transcript.output() for transcript in transcripts]


GENERATION = Generation(prompts=prompts, answer=answer, left=False, applies=generates, otherwise=transcribe)

TASK = Task(
    id="automatic-speech-recognition",
    summary="Write down what is said in a sound.",
    inputs=AutomaticSpeechRecognitionInputs,
    params=AutomaticSpeechRecognitionParams,
    output=AutomaticSpeechRecognitionOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("speech-seq2seq", "ctc", "rnnt", "tdt", "multimodal-lm", "seq2seq-lm"),
    example={"base64": EXAMPLE},
    streams=True,
    media="audio",
    wildcard="url",
    max_batch=8,
    length=sound_length,
    sizes=sizes.sounds_to_transcribe,
)
