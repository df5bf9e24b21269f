"""Speech to text by models that read a request: the sound, in words that say what is to be done with it.

Their processor writes the request and reads the transcript out of the answer; where it does not, the model's chat
template writes it, and the answer is the transcript. Owns no task.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from modelyard.errors import InvalidRequest
from modelyard.protocol import Outcome
from modelyard.tasks.base import Call, attempt
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.chat_template import find_template_holder, render_blocks
from modelyard.tasks.shared.generation import Generation, Prompt, WrittenText, answer_plain_texts, usage_of, write
from modelyard.tasks.shared.media_chat import media_chat_options
from modelyard.tasks.shared.prompts import encode_prompt, refuse_long_prompt
from modelyard.tasks.shared.transcripts import Chunk, SpeechParams, Transcript, refuse_unread

INSTRUCTION = "Transcribe the audio clip into text."
"""What a model is asked whose processor has no words of its own for it. Source: the cards of Phi-4-multimodal and
Granite Speech, which ask nearly the same."""
LANGUAGE = ("language", "source_language")
"""What processors call the language that is spoken."""
ENGLISH = "en"
MOST_TOKENS = 1_000_000
"""More than any sound has pieces."""


def reads_requests(model: Model) -> bool:
    """Whether the model is asked in words to write a sound down: by its processor, or as one that continues a
    conversation."""
    talks = not model.config.get("is_encoder_decoder") and find_template_holder(model) is not None
    return writes_requests(model) or talks


def writes_requests(model: Model) -> bool:
    """Whether its processor puts the request together."""
    return hasattr(model.processor, "apply_transcription_request")


def transcribe_on_request(model: Model, calls: Sequence[Call[Any, Any]], sounds: Sequence[Array]) -> list[Any]:
    """Each sound's output, or its InvalidRequest. `sounds`: (n,) each, at the model's rate; the calls' params are
    equal. Raises InvalidRequest about the params.

    What streams arrives in one piece where a transcript is read out of the answer.
    """
    params: SpeechParams = calls[0].params
    choices = choices_of(model, params)
    prompts = [attempt(write_request, model, sound, params, choices) for sound in sounds]
    read = reader_of(model)
    rows = [
        (call if read is None else replace(call, emit=None), prompt)
        for call, prompt in zip(calls, prompts, strict=True)
        if not isinstance(prompt, InvalidRequest)
    ]
    written = iter(write(GENERATION, model, rows))
    return [
        prompt if isinstance(prompt, InvalidRequest) else finish(model, call, prompt, next(written)[0])
        for call, prompt in zip(calls, prompts, strict=True)
    ]


def choices_of(model: Model, params: SpeechParams) -> dict[str, Any]:
    """What the processor is told beside the sound. Raises InvalidRequest for what this one does not take."""
    if params.return_timestamps and not tells_speakers(model):
        accepted = "false: this model knows no times"
        raise InvalidRequest(field="params.return_timestamps", got=params.return_timestamps, accepted=accepted)
    if not writes_requests(model):
        refuse_unread(params, "language", "task")
        return {}
    taken = inspect.signature(model.processor.apply_transcription_request).parameters
    language = next((name for name in LANGUAGE if name in taken), None)
    choices: dict[str, Any] = {}
    if params.language is not None and language is not None:
        choices[language] = params.language
    elif params.language is not None:
        refuse_unread(params, "language")
    if params.prompt is not None and "prompt" in taken:
        choices["prompt"] = params.prompt
    elif params.prompt is not None:
        refuse_unread(params, "prompt")
    if params.task == "translate" and "target_language" in taken:
        choices["target_language"] = ENGLISH
    elif params.task == "translate":
        refuse_unread(params, "task")
    return choices


def write_request(model: Model, sound: Array, params: SpeechParams, choices: dict[str, Any]) -> Prompt:
    """The encoded request for one sound. Raises InvalidRequest."""
    if not writes_requests(model):
        content = [{"type": "audio"}, {"type": "text", "text": params.prompt or INSTRUCTION}]
        text = render_blocks(model, [{"role": "user", "content": content}], "base64").text
        arrays = encode_prompt(model, text, sounds=[sound], field="base64")
    else:
        arrays = ask_processor(model, sound, choices)
    prompt = Prompt(arrays=arrays)
    if "decoder_input_ids" not in arrays:
        refuse_long_prompt(prompt.count_tokens() or 0, model, params, "base64")
    return prompt


def ask_processor(model: Model, sound: Array, choices: dict[str, Any]) -> dict[str, Array]:
    """The request as the model's processor puts it. Its text first, where it gives that, as what is made of the sound
    may take longer than a template is allowed to. Raises InvalidRequest."""
    request = model.processor.apply_transcription_request
    try:
        if "tokenize" in inspect.signature(request).parameters:
            (text,) = request(audio=[sound], tokenize=False, **choices)
            return encode_prompt(model, text, sounds=[sound], field="base64")
        return {name: np.asarray(array) for name, array in request(audio=[sound], **choices).items()}
    except (ValueError, TypeError) as error:
        field = "params.language" if choices.keys() & set(LANGUAGE) else "base64"
        raise InvalidRequest(f"{field}: the model's processor refuses it: {error}", field=field) from error


def reader_of(model: Model) -> str | None:
    """The setting by which the processor reads the transcript out of an answer as it decodes it; None: it is all of
    the answer."""
    decode = getattr(model.processor, "decode", None)
    taken = {} if decode is None else inspect.signature(decode).parameters
    return next((name for name in ("return_format", "strip_prefix") if name in taken), None)


def tells_speakers(model: Model) -> bool:
    """Whether the processor reads out of an answer who says what, and when."""
    return reader_of(model) == "return_format" and hasattr(model.processor, "extract_speaker_dict")


def finish(model: Model, call: Call[Any, Any], prompt: Prompt, written: WrittenText) -> Outcome:
    """The output of one call."""
    text = read_transcript(model, written, call.params.stop)
    chunks = find_turns(model, written) if call.params.return_timestamps else None
    if call.emit is not None and reader_of(model) is not None:
        call.emit(text)
    count = prompt.count_tokens()
    usage = usage_of([written], [] if count is None else [count])
    return Outcome(Transcript(text, chunks).output(), usage)


def read_transcript(model: Model, written: WrittenText, stop: Any) -> str:
    """The transcript in an answer, up to where a stop string begins."""
    reader = reader_of(model)
    if reader is None:
        return written.text
    setting = "transcription_only" if reader == "return_format" else True
    (text,) = model.processor.decode([list(written.tokens)], skip_special_tokens=True, **{reader: setting})
    for end in [stop] if isinstance(stop, str) else stop or ():
        text = text.partition(end)[0]
    return str(text)


def find_turns(model: Model, written: WrittenText) -> list[Chunk]:
    """Who says what, and when. Nothing, where the model has not written it in its own form."""
    (turns,) = model.processor.decode([list(written.tokens)], return_format="parsed")
    return [
        Chunk((float(turn["Start"]), float(turn["End"])), str(turn["Content"]), int(turn["Speaker"]))
        for turn in (turns if isinstance(turns, list) else ())
        if isinstance(turn, dict) and turn.keys() >= {"Start", "End", "Content", "Speaker"}
    ]


def request_options(model: Model, params: Any) -> Mapping[str, Any]:
    """What ends an answer. A model that hears a piece of the sound with each token writes until the sound ends, unless
    it is to write less."""
    hears_on = "audio_length_per_tok" in model.config and params.max_new_tokens is None and params.max_length is None
    return {**media_chat_options(model, params), **({"max_new_tokens": MOST_TOKENS} if hears_on else {})}


GENERATION = Generation(prompts=lambda _model, _call: (), answer=answer_plain_texts, options=request_options)
"""How answers are written: to prompts that are made here."""
