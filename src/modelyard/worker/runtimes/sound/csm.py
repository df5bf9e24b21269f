"""CSM: what one of several speakers says next in a conversation, whose texts and sounds are the context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoProcessor

from modelyard.tasks.maker import OnStep
from modelyard.tasks.model import Array
from modelyard.tasks.shared.utterances import Utterance
from modelyard.worker.runtimes.chat_templates import limit_template
from modelyard.worker.runtimes.sound.base import CHOOSING, SoundModel, count_passes, steps_of
from modelyard.worker.runtimes.tensors import to_numpy


class Csm(SoundModel):
    """See the module."""

    settings = frozenset({"text", "messages", "seed", "speaker_id", "max_new_tokens", *CHOOSING})

    def __init__(self, path: Path, model: Any) -> None:
        super().__init__(path, model)
        self._processor = AutoProcessor.from_pretrained(path, local_files_only=True)
        limit_template(self._processor)
        self.rate = int(self._processor.feature_extractor.sampling_rate)

    def speak(self, text: str, options: Mapping[str, Any], on_step: OnStep) -> Array:
        """See SoundModel."""
        said: Sequence[Utterance] = options.get("messages", ())
        spoken = [*said, Utterance(str(options.get("speaker_id", 0)), text)]
        inputs = self._processor.apply_chat_template(
            [{"role": each.speaker, "content": blocks_of(each)} for each in spoken], tokenize=True, return_dict=True
        )
        config = self.generation_config(options)
        with count_passes([self.model.backbone_model], on_step, steps_of(config, 1)):
            (waveform,) = self.model.generate(**self.tensors(inputs), generation_config=config, output_audio=True)
        return to_numpy(waveform)


def blocks_of(said: Utterance) -> list[dict[str, Any]]:
    """What was said, as the library's templates read it."""
    sound = [] if said.sound is None else [{"type": "audio", "audio": said.sound}]
    return [{"type": "text", "text": said.text}, *sound]
