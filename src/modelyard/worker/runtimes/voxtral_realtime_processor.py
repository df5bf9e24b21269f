"""Voxtral Realtime's processor by its format alone, for sounds that are there as a whole. The library's asks another
library, mistral-common, how much silence stands around a sound and with which tokens a model begins to hear it.

Source: AudioConfig and AudioEncoder of mistral-common (Apache-2.0), which say both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BatchFeature, ProcessorMixin
from transformers.models.voxtral_realtime.processing_voxtral_realtime import (
    VoxtralRealtimeProcessor as LibrarysProcessor,
)

FILE = "tekken.json"
"""Beside its words, it says how sounds are given to the model."""
START, PAD = "<s>", "[STREAMING_PAD]"
PIECES_BEHIND = 10
"""Of silence behind a sound, beside those by which the model is late."""


class VoxtralRealtimeProcessor(LibrarysProcessor):  # type: ignore[misc]  # the library is untyped
    """Sounds to the requests to write them down. A piece of sound stands for each token."""

    def __init__(self, feature_extractor: Any, tokenizer: Any) -> None:
        ProcessorMixin.__init__(self, feature_extractor, tokenizer)
        told: Mapping[str, Any] = json.loads((Path(tokenizer.name_or_path) / FILE).read_text("utf-8"))["audio"]
        self.piece = int(told["sampling_rate"] / told["frame_rate"])
        self.late = round(told["transcription_delay_ms"] / 1000 * told["frame_rate"])
        self.before = int(told["streaming_n_left_pad_tokens"])

    def apply_transcription_request(self, audio: Sequence[Any]) -> Any:
        """The tokens with which the model begins to hear each sound, and the sound's features: (sounds, mels, frames).
        The sounds are equally long."""
        begins = self.tokenizer.convert_tokens_to_ids([START, *[PAD] * (self.before + self.late)])
        around, rate = [self.surround(sound) for sound in audio], self.feature_extractor.sampling_rate
        features = self.feature_extractor(around, sampling_rate=rate, return_tensors="np")["input_features"]
        tokens = np.array([begins] * len(audio))
        mask = np.ones_like(tokens)
        return BatchFeature({"input_ids": tokens, "attention_mask": mask, "input_features": features})

    def surround(self, sound: Any) -> Any:
        """A sound with silence around it, in whole pieces."""
        behind = -len(sound) % self.piece + (self.late + 1 + PIECES_BEHIND) * self.piece
        return np.pad(np.asarray(sound, np.float32), (self.before * self.piece, behind))
