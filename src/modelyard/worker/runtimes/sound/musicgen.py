"""MusicGen: a few codes a step, several of which lie one step apart, then all of them decoded to sound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor
from transformers.generation import StoppingCriteria

from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.making import Stopped
from modelyard.worker.runtimes.sound.base import CHOOSING, SoundModel
from modelyard.worker.runtimes.tensors import to_numpy

LIBRARY_LENGTH = 20
"""How long the library makes an answer, its first step included, when neither request nor model says."""


class Musicgen(SoundModel):
    """See the module."""

    settings = frozenset({"text", "seed", "duration", "max_new_tokens", "guidance_scale", *CHOOSING})

    def __init__(self, path: Path, model: Any) -> None:
        super().__init__(path, model)
        self.rate = int(model.config.audio_encoder.sampling_rate)
        self._processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        self._codebooks = int(model.config.decoder.num_codebooks)

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel. `duration` is kept to the sample."""
        length = self._length(options)
        given = options if length is None else {**options, "max_new_tokens": length}
        config = self.generation_config(given, "guidance_scale")
        waveform = self.model.generate(
            **self.tensors(self._processor(text=[text], return_tensors="pt")),
            generation_config=config,
            stopping_criteria=[CountSteps(on_step, length or (config.max_length or LIBRARY_LENGTH) - 1)],
        )
        sound = to_numpy(waveform[0])  # (channels, samples)
        if "duration" in options:
            sound = sound[:, : round(options["duration"] * self.rate)]
        return sound[0] if len(sound) == 1 else np.ascontiguousarray(sound.T)

    def _length(self, options: Mapping[str, Any]) -> int | None:
        """Steps to make, when the request says; the last codes come `codebooks - 1` steps after the first."""
        if "duration" not in options:
            return options.get("max_new_tokens")
        steps = int(np.ceil(options["duration"] * self.model.config.audio_encoder.frame_rate)) + self._codebooks - 1
        return max(steps, 2 * self._codebooks)  # shorter ones the library makes in another order


class CountSteps(StoppingCriteria):  # type: ignore[misc]
    """Ends nothing by itself: counts steps, and leaves the library's loop when told to."""

    def __init__(self, on_step: OnStep, total: int) -> None:
        self._on_step = on_step
        self._total = total
        self._done = 0

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Raises Stopped."""
        self._done += 1
        if self._on_step(self._done, self._total):
            raise Stopped
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)
