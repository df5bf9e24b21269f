"""The second model of a repository that outlines things both where somebody points and by their names (SAM 3): a
detector of what a text names, which sees with the eyes of the first. Loads no files itself."""

from __future__ import annotations

from typing import Any

from modelyard.tasks.shared.concepts import DETECTOR, DETECTOR_CONFIG
from modelyard.worker.runtimes.device import is_spread
from modelyard.worker.runtimes.heads import HEADS


def find_detector(config: Any) -> Any | None:
    """The library's class of the detector in a repository with this config; None where there is none."""
    return HEADS["concept-segmentation"].get(type(getattr(config, DETECTOR_CONFIG, None)), None)


def add_detector(model: Any, detector: Any, config: Any) -> None:
    """Makes the detector a part of the model, under the repository's own `config`. The eyes, which are most of either,
    are in the files once, and from now on in memory, unless layers lie on several devices or the configs of the two
    have them see differently."""
    own, shared = detector.vision_encoder, model.vision_encoder.backbone
    if not is_spread(model) and own.backbone.config.to_dict() == shared.config.to_dict():
        own.backbone = shared
    setattr(model, DETECTOR, detector.eval())
    model.config = config
