"""Answers to conversations that are said as well as written, on models that have a part for that (Qwen-Omni)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.media.encode import SoundFormat, made_sound
from modelyard.protocol import Outcome
from modelyard.tasks.base import Call
from modelyard.tasks.hints import not_in_a_stream
from modelyard.tasks.model import HasVoices, Model
from modelyard.tasks.shared.generation import Generation, begin_text, finish_text, outcome_of
from modelyard.tasks.shared.generation_params import options_of
from modelyard.tasks.shared.template_params import TemplateParams

USUAL = "default"
"""Stands for the first of a model's voices."""
UNSAID = ("num_beams", "num_return_sequences", "stop")
"""Params that make other texts than one, of which every token is said."""


class SpokenParams(TemplateParams, frozen=True, kw_only=True):
    """How to answer, and in which voice."""

    voice: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)] | None,
        not_in_a_stream(
            "the answer is said as well, in the voice of this name, on models that speak (Qwen-Omni); "
            "default is the model's first; not in a stream"
        ),
    ] = None
    audio_format: Annotated[
        SoundFormat, Meta(description="of what is said: wav, mp3, flac, opus (in Ogg), aac, or pcm (16 bits, 24 kHz)")
    ] = "wav"


def speak(generation: Generation, model: Model, call: Call[Any, SpokenParams]) -> Outcome | ModelyardError:
    """One call's answer with its sound, or the error that it met."""
    try:
        if not isinstance(model, HasVoices):
            raise refused_voice(call, None)
        voice = find_voice(model, call)
        refuse_what_is_not_said(call)
        (prompt,) = generation.prompts(model, call)
        options = {**options_of(call.params, model), **generation.options(model, call.params)}
        text = begin_text(model, call, prompt, streams=False)
        said = model.speak(prompt.arrays, options, voice, lambda _row, tokens: text.take(tokens) or call.cancelled())
        written = finish_text(text, prompt, said.written)
        counts = [count for count in [prompt.count_tokens()] if count is not None]
        outcome = outcome_of(generation, call, [[written]], counts)
        if said.sound is None:
            return outcome
        audio = made_sound(said.sound, said.rate, call.params.audio_format)
        return msgspec.structs.replace(outcome, output=msgspec.structs.replace(outcome.output, audio=audio))
    except ModelyardError as error:
        return error


def find_voice(model: HasVoices, call: Call[Any, SpokenParams]) -> str:
    """The voice that a call asks for, as the model calls it. Raises InvalidRequest."""
    wanted, voices = (call.params.voice or USUAL).lower(), model.voices
    if voices and wanted == USUAL:
        return voices[0]
    found = next((each for each in voices or () if each.lower() == wanted), None)
    if found is None:
        raise refused_voice(call, voices)
    return found


def refused_voice(call: Call[Any, SpokenParams], voices: Any) -> InvalidRequest:
    """The error for a voice that a model does not have. `voices`: see HasVoices."""
    if voices:
        accepted = f"{USUAL}, or one of the model's voices: {', '.join(voices)}"
    elif voices is None:
        accepted = "not set: this model writes its answers, and does not say them"
    else:
        accepted = "not set: the model's folder has no spk_dict.pt, the file with its voices; put it there"
    return InvalidRequest(field="params.voice", got=call.params.voice, accepted=accepted)


def refuse_what_is_not_said(call: Call[Any, SpokenParams]) -> None:
    """Raises InvalidRequest for what cannot be asked beside a voice."""
    if call.emit is not None:
        accepted = "not set in a stream, which carries texts: ask for the whole answer"
        raise InvalidRequest(field="params.voice", got=call.params.voice, accepted=accepted)
    for name in UNSAID:
        value = getattr(call.params, name)
        if value not in (None, 1, []):
            raise InvalidRequest(field=f"params.{name}", got=value, accepted="not set beside voice: one text is said")
