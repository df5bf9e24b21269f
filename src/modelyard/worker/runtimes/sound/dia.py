"""Dia: a dialogue of two speakers, `[S1]` and `[S2]`, as codes of sound, which its audio tokenizer decodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import DiaProcessor

from modelyard.errors import InvalidRequest
from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.tasks.shared.utterances import Utterance
from modelyard.worker.runtimes.sound.audio_tokenizers import load_processor
from modelyard.worker.runtimes.sound.base import CHOOSING, SoundModel, check_speaker, count_passes, steps_of
from modelyard.worker.runtimes.tensors import to_numpy

ROLES = ("0", "1")
"""How requests name the two."""


class Dia(SoundModel):
    """See the module."""

    settings = frozenset({"text", "messages", "seed", "speaker_id", "max_new_tokens", "guidance_scale", *CHOOSING})
    library_class = "DiaForConditionalGeneration"

    def __init__(self, path: Path, model: Any) -> None:
        """Raises ModelRefused when there is no audio tokenizer."""
        super().__init__(path, model)
        self._processor = load_processor(path, DiaProcessor, model)
        self.rate = int(self._processor.feature_extractor.sampling_rate)

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel. What was said before goes before the text, and its sound before the one that is made."""
        said: Sequence[Utterance] = options.get("messages", ())
        if len(said) > 1 or any(each.sound is None or each.speaker not in ROLES for each in said):
            accepted = f"one, with a text and its sound, and the role {' or '.join(ROLES)}, on this model"
            raise InvalidRequest(field="messages", got=f"{len(said)} messages", accepted=accepted)
        speaker = check_speaker(options.get("speaker_id", 0), len(ROLES))
        words = [*(mark(each.text, int(each.speaker)) for each in said), mark(text, speaker)]
        sounds = {"audio": [each.sound for each in said]} if said else {}
        inputs = self._processor(text=[" ".join(words)], **sounds, padding=True, return_tensors="pt")
        before = self._processor.get_audio_prompt_len(inputs["decoder_attention_mask"]) if said else None
        config = self.generation_config(options, "guidance_scale")
        with count_passes([self.model.model.decoder], on_step, steps_of(config, 1)):
            codes = self.model.generate(**self.tensors(inputs), generation_config=config)
        (waveform,) = self._processor.batch_decode(codes, audio_prompt_len=before)
        return to_numpy(waveform)


def mark(text: str, speaker: int) -> str:
    """The text with who speaks before it, unless it says so itself."""
    return text if text.startswith("[") else f"[S{speaker + 1}] {text}"
