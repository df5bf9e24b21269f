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
from modelyard.tasks.shared.media_blocks import name_media
from modelyard.tasks.shared.media_making import MOST_CHARACTERS, Seed, SteppedSoundParams, make_each, prompt_length
from modelyard.tasks.shared.utterances import MOST_UTTERANCES, Said, read_utterances

Noise = Annotated[float, Meta(ge=0, le=2)]


class TextToSpeechInputs(Inputs, frozen=True, kw_only=True):
    """What to say."""

    text: Annotated[
        str,
        Meta(min_length=1, max_length=MOST_CHARACTERS, description=f"what to say, 1 to {MOST_CHARACTERS} characters"),
    ]
    messages: Annotated[
        Annotated[list[Said], Meta(min_length=1, max_length=MOST_UTTERANCES)] | None,
        Meta(
            description="what was said before, and how it sounded, on models that go on in such voices (CSM; Dia, of "
            "one message)"
        ),
    ] = None


class TextToSpeechParams(SteppedSoundParams, frozen=True, kw_only=True):
    """How to say it. Each model has some of these settings."""

    speaking_rate: Annotated[
        Annotated[float, Meta(ge=0.1, le=10)] | None,
        Meta(description="2 speaks twice as fast; by default the model's own, mostly 1"),
    ] = None
    voice: Annotated[
        Annotated[str, Meta(min_length=1, max_length=200)] | None,
        Meta(
            description="the name of a voice, on models whose voices have names (Bark's presets, such as "
            "v2/en_speaker_6; the files of a SpeechT5's folder voices/); one that is not there is answered by a list"
        ),
    ] = None
    speaker_id: Annotated[
        Annotated[int, Meta(ge=0)] | None,
        Meta(description="which of a model's voices or speakers speaks; by default the first, 0"),
    ] = None
    speaker_embedding: Annotated[
        Annotated[list[float], Meta(min_length=1, max_length=4096)] | None,
        Meta(
            description="the voice as an x-vector, on models that take one (SpeechT5: 512 numbers); by default the "
            "first of its folder voices/, or where there is none, no voice in particular"
        ),
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
    return make_each(
        model,
        calls,
        lambda samples, call: made_sound(samples, model.rate, call.params.audio_format),
        read=read_utterances,
    )


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
    prepare=name_media,
    max_batch=1,
    length=prompt_length,
    sizes=sizes.speech_to_make,
)
