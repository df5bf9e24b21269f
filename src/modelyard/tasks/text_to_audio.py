"""text-to-audio: music or sounds that a text describes, as a WAV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.media.encode import made_sound
from modelyard.media.media import Made
from modelyard.tasks.base import Call, Inputs, Task
from modelyard.tasks.maker import Maker
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.media_making import (
    NegativePrompt,
    PromptText,
    Seed,
    SteppedSoundParams,
    Steps,
    make_each,
    prompt_length,
)


class TextToAudioInputs(Inputs, frozen=True, kw_only=True):
    """What it sounds like."""

    text: Annotated[PromptText, Meta(description="what the sound is like; models cut what is beyond their own limit")]


class TextToAudioParams(SteppedSoundParams, frozen=True, kw_only=True):
    """How to make it. Each model has some of these settings."""

    duration: Annotated[
        Annotated[float, Meta(gt=0, le=300)] | None,
        Meta(description="seconds of sound; by default the model's own, 30 on published MusicGen models"),
    ] = None
    lyrics: Annotated[
        PromptText | None, Meta(description="what is sung, on models that sing (ACE-Step); by default nothing")
    ] = None
    vocal_language: Annotated[
        Annotated[str, Meta(min_length=1, max_length=16)] | None,
        Meta(description="of the lyrics, such as en or de; by default the model's own"),
    ] = None
    num_inference_steps: Steps = None
    negative_prompt: NegativePrompt = None
    seed: Seed = None

    def __post_init__(self) -> None:
        """Raises InvalidRequest for settings that contradict each other."""
        if self.duration is not None and self.max_new_tokens is not None:
            raise InvalidRequest(
                field="params.max_new_tokens", got=self.max_new_tokens, accepted="not set beside duration: give one"
            )


TextToAudioOutput = Made
"""A sound, in the format that was asked for."""


def run(model: Maker, calls: Sequence[Call[Any, Any]]) -> list[Made | ModelyardError]:
    """Makes the sound of each call."""
    return make_each(model, calls, lambda samples, call: made_sound(samples, model.rate, call.params.audio_format))


TASK = Task(
    id="text-to-audio",
    summary="Make music or sounds that a text describes.",
    inputs=TextToAudioInputs,
    params=TextToAudioParams,
    output=TextToAudioOutput,
    run=run,
    heads=("text-to-waveform", "audio-pipeline"),
    example={"text": "A calm tune on a wooden flute", "params": {"duration": 5, "seed": 7}},
    makes="audio",
    max_batch=1,
    length=prompt_length,
    sizes=sizes.music_to_make,
    pipeline_sizes=sizes.sound_by_diffusion,
)
