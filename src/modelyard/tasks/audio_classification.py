"""audio-classification: how well each of the model's labels fits a sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.arrays import answer_logits
from modelyard.tasks.shared.scores import Label, LabelParams, label
from modelyard.tasks.shared.sounds import EXAMPLE, SoundInputs, features_of, read_sound, sound_length


class AudioClassificationInputs(SoundInputs, frozen=True, kw_only=True):
    """The sound to classify."""


class AudioClassificationParams(LabelParams, frozen=True, kw_only=True):
    """What to do with the scores."""


AudioClassificationOutput = list[Label]
"""Labels with their scores, best first."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Scores each sound against the model's labels. Sounds of one length share a pass."""
    return answer_logits(model, calls, read_features, lambda call, logits: label(model, call.params, logits))


def read_features(model: Model, call: Call[AudioClassificationInputs, Any]) -> dict[str, Array]:
    """The sound's features. Raises InvalidRequest."""
    return features_of(model, read_sound(model, call.inputs.media))


TASK = Task(
    id="audio-classification",
    summary="Say which of the model's labels fit a sound.",
    inputs=AudioClassificationInputs,
    params=AudioClassificationParams,
    output=AudioClassificationOutput,
    run=run,
    heads=("audio-classification",),
    example={"base64": EXAMPLE},
    media="audio",
    wildcard="url",
    max_batch=8,
    length=sound_length,
    sizes=sizes.sounds,
)
