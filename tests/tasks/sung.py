"""Pipelines that make music and sounds: how each is asked here, and what the library called directly makes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch

from tests.coverage.pipelines import audio_families

SEED, STEPS, SECONDS = 5, 2, 1.0
TEXT = "a calm tune on a wooden flute"


@dataclass(frozen=True)
class Song:
    """What a pipeline is built of and asked. `duration`: what its call calls the length; `more`: params that both have
    by the same name."""

    recipe: Callable[[str], dict[str, Any]]
    duration: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """What a client sends."""
        seconds = {"duration": SECONDS} if self.duration else {}
        params = {"num_inference_steps": STEPS, "seed": SEED, **seconds, **self.more}
        return {"text": TEXT, "params": params}


SONGS: dict[str, Song] = {
    "AceStepPipeline": Song(
        audio_families.ace_step, "audio_duration", more={"lyrics": "la la", "vocal_language": "de", "guidance_scale": 3}
    ),
    "LongCatAudioDiTPipeline": Song(audio_families.longcat_audio, "audio_duration_s"),
    "StableAudio3Pipeline": Song(audio_families.stable_audio_3, "duration"),
    "MusicLDMPipeline": Song(audio_families.audioldm, "audio_length_in_s", more={"guidance_scale": 1.0}),
    "StableAudioPipeline": Song(audio_families.stable_audio, "audio_end_in_s"),
    "AudioLDM2Pipeline": Song(audio_families.audioldm_2),
}
"""The pipeline's class → that."""


def library_song(name: str, folder: Path) -> Any:
    """The library's sound, (samples,) or (samples, channels)."""
    song = SONGS[name]
    pipeline = diffusers.DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    given: dict[str, Any] = {**song.more, "output_type": "np"}
    if song.duration:
        given[song.duration] = SECONDS
    if name == "MusicLDMPipeline":
        given["prompt_embeds"] = read_by_clap(pipeline)
    else:
        given["prompt"] = TEXT
    torch.manual_seed(SEED)
    generator = torch.Generator().manual_seed(SEED)
    made = np.asarray(pipeline(num_inference_steps=STEPS, generator=generator, **given).audios[0])
    sound = made if made.ndim == 1 else made.T
    return torch.as_tensor(sound[:, 0] if sound.ndim == 2 and sound.shape[1] == 1 else sound)


def read_by_clap(pipeline: Any) -> Any:
    """What MusicLDM reads of the text, which it cannot ask this version of transformers for itself."""
    limit = pipeline.tokenizer.model_max_length
    tokens = pipeline.tokenizer(TEXT, padding="max_length", max_length=limit, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        return pipeline.text_encoder.get_text_features(**tokens).pooler_output
