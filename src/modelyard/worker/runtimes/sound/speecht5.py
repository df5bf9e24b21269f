"""SpeechT5: a spectrogram, a few frames a step, that the vocoder in the folder `vocoder/` turns into sound. A voice is
an x-vector: of the request, or of the folder `voices/`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, SpeechT5HifiGan

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.sound.base import SoundModel, check_voice, count_passes
from modelyard.worker.runtimes.tensors import to_numpy

VOICES = "voices"
"""The folder with a file for each voice, as numpy writes arrays: `voices/amy.npy`."""


class SpeechT5(SoundModel):
    """See the module."""

    settings = frozenset({"text", "seed", "speaker_embedding", "voice"})

    def __init__(self, path: Path, model: Any) -> None:
        """Raises ModelRefused when there is no vocoder, or a voice that is none."""
        super().__init__(path, model)
        if not (path / "vocoder" / "config.json").exists():
            raise ModelRefused(
                f"{path.name} makes spectrograms and has no vocoder to make sound of them. "
                "Put one (e.g. microsoft/speecht5_hifigan) into its folder as vocoder/."
            )
        self._vocoder = SpeechT5HifiGan.from_pretrained(path / "vocoder", dtype=model.dtype, local_files_only=True)
        self._vocoder = self._vocoder.eval().to(model.device)
        self._processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        self._voice_size = int(model.config.speaker_embedding_dim)
        self._voices = {file.stem: self._read_voice(file) for file in sorted((path / VOICES).glob("*.npy"))}
        self.rate = int(self._vocoder.config.sampling_rate)

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel."""
        inputs = self.tensors(self._processor(text=text, return_tensors="pt"))
        most = int(inputs["input_ids"].shape[1] * 20 / self.model.config.reduction_factor)  # the library's own limit
        voice = torch.tensor([self._choose_voice(options)], dtype=self.model.dtype, device=self.model.device)
        with count_passes([self.model.speecht5.decoder.wrapped_decoder], on_step, most):
            waveform = self.model.generate_speech(
                inputs["input_ids"], voice, attention_mask=inputs["attention_mask"], vocoder=self._vocoder
            )
        return to_numpy(waveform)

    def _choose_voice(self, options: Mapping[str, Any]) -> list[float]:
        """The request's x-vector or voice, else the folder's first voice. Without any, zeros, which are no voice in
        particular: the library takes them so where it converts speech and nobody gives it a voice."""
        embedding = options.get("speaker_embedding")
        if embedding is not None and "voice" in options:
            raise InvalidRequest(
                field="params.voice", got=options["voice"], accepted="not set beside speaker_embedding: give one"
            )
        if embedding is None:
            name = options.get("voice")
            known = list(self._voices)
            name = next(iter(known), None) if name is None else check_voice(name, known)
            return [0.0] * self._voice_size if name is None else self._voices[name]
        if len(embedding) != self._voice_size:
            accepted = f"a list of {self._voice_size} numbers, the x-vector of a voice"
            raise InvalidRequest(field="params.speaker_embedding", got=embedding, accepted=accepted)
        voice: list[float] = embedding
        return voice

    def _read_voice(self, file: Path) -> list[float]:
        vector = np.load(file, allow_pickle=False).reshape(-1)
        if len(vector) != self._voice_size:
            raise ModelRefused(
                f"{file.parent.parent.name}'s voice {VOICES}/{file.name} has {len(vector)} numbers, and the model's "
                f"voices have {self._voice_size}."
            )
        numbers: list[float] = vector.astype(float).tolist()
        return numbers
