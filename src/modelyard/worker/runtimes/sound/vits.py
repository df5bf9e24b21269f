"""VITS, and MMS, whose voices for many languages are such models: the whole sound in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from transformers.utils import is_phonemizer_available, is_uroman_available

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.sound.base import SoundModel, check_speaker
from modelyard.worker.runtimes.tensors import to_numpy


class Vits(SoundModel):
    """See the module."""

    def __init__(self, path: Path, model: Any) -> None:
        """Raises ModelRefused when the voice's letters need a program that is not here."""
        super().__init__(path, model)
        self.rate = int(model.config.sampling_rate)
        self._speakers = int(model.config.num_speakers)
        self.settings = frozenset({"text", "seed", "speaking_rate", "noise_scale", "noise_scale_duration"}) | (
            {"speaker_id"} if self._speakers > 1 else frozenset()
        )
        self._scales = {name: getattr(model, name) for name in ("noise_scale", "noise_scale_duration")}
        self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        for needs, package, here in (
            ("phonemize", "phonemizer", is_phonemizer_available),
            ("is_uroman", "uroman", is_uroman_available),
        ):
            if getattr(self._tokenizer, needs, False) and not here():
                raise ModelRefused(f"{path.name} reads text by way of {package}, which is not installed here.")

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel."""
        arguments = self.tensors(self._tokenizer(text, return_tensors="pt"))
        if not arguments["input_ids"].shape[1]:
            raise InvalidRequest(field="text", got=text, accepted="a text with letters that this voice can read")
        if self._speakers > 1:
            arguments["speaker_id"] = check_speaker(options.get("speaker_id", 0), self._speakers)
        for name, usual in self._scales.items():
            setattr(self.model, name, options.get(name, usual))
        waveform = self.model(**arguments, speaking_rate=options.get("speaking_rate")).waveform[0]
        on_step(1, 1)
        return to_numpy(waveform)
