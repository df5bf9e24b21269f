"""text-to-speech: a voice that reads a text, as a file of sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import ModelyardError
from modelyard.media.encode import made_sound
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Inputs, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.media_making import MOST_CHARACTERS, Seed, SoundParams, make_each, prompt_length

Noise = Annotated[float, Meta(ge=0, le=2)]


class TextToSpeechInputs(Inputs, frozen=True, kw_only=True):
    """What to say."""

    text: Annotated[
        str,
        Meta(min_length=1, max_length=MOST_CHARACTERS, description=f"what to say, 1 to {MOST_CHARACTERS} characters"),
    ]


class TextToSpeechParams(SoundParams, frozen=True, kw_only=True):
    """How to say it. Each model has some of these settings."""

    speaking_rate: Annotated[
        Annotated[float, Meta(ge=0.1, le=10)] | None,
        Meta(description="2 speaks twice as fast; by default the model's own, mostly 1"),
    ] = None
    speaker_id: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="which of a model's voices speaks; by default the first, 0"),
    ] = None
    speaker_embedding: Annotated[
        Annotated[list[float], Meta(min_length=1, max_length=4096)] | None,
        Meta(description="the voice as an x-vector, on models that take one (SpeechT5, which needs it: 512 numbers)"),
    ] = None
    noise_scale: Annotated[
        Noise | None, Meta(description="how much the sound varies from call to call; by default the model's own")
    ] = None
    noise_scale_duration: Annotated[
        Noise | None, Meta(description="how much the rhythm varies from call to call; by default the model's own")
    ] = None
    seed: Seed = None


TextToSpeechOutput = Made
"""A sound, in the format that was asked for."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Says each call's text."""
    return make_each(model, calls, lambda samples, call: made_sound(samples, model.rate, call.params.audio_format))


TASK = Task(
    id="text-to-speech",
    summary="Read a text aloud.",
    inputs=TextToSpeechInputs,
    params=TextToSpeechParams,
    output=TextToSpeechOutput,
    run=run,
    heads=("text-to-waveform", "text-to-spectrogram"),
    example={"text": "Once upon a time there was a small fox.", "params": {"seed": 7}},
    makes="audio",
    max_batch=1,
    length=prompt_length,
    sizes=sizes.speech_to_make,
)
