"""Bark: what is said, then the coarse and the fine codes of its sound. A voice is one of the presets that its folder
lists, a recording in such codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoProcessor

from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.worker.runtimes.sound.base import CHOOSING, SoundModel, check_voice, count_passes
from modelyard.worker.runtimes.tensors import to_numpy

CHOSEN = ("do_sample", "temperature")
"""Of CHOOSING, what the library hands on to all of the parts."""


class Bark(SoundModel):
    """See the module."""

    settings = frozenset({"text", "seed", "voice", "max_new_tokens", *CHOOSING})

    def __init__(self, path: Path, model: Any) -> None:
        super().__init__(path, model)
        self._processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        self._voices = self._processor.available_voice_presets
        said = model.generation_config.semantic_config
        self._said = said if isinstance(said, dict) else said.to_dict()
        self.rate = int(model.generation_config.sample_rate)

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel. `max_new_tokens` is how long what is said may be."""
        voice = check_voice(options["voice"], self._voices) if "voice" in options else None
        inputs = self._processor(
            text,
            voice_preset=voice,
            max_length=self._said.get("max_input_semantic_length", 256),
            add_special_tokens=False,
        )
        chosen = {name: options[name] for name in CHOSEN if name in options}
        chosen |= {
            f"{part}_{name}": options[name]
            for part in ("semantic", "coarse")
            for name in ("top_k", "top_p")
            if name in options
        }
        if "max_new_tokens" in options:
            chosen["semantic_max_new_tokens"] = options["max_new_tokens"]
        total = options.get("max_new_tokens") or self._said.get("max_new_tokens", 768)
        with count_passes([self.model.semantic, self.model.coarse_acoustics], on_step, total):
            waveform = self.model.generate(**self.tensors(inputs), **chosen)
        return to_numpy(waveform[0])
