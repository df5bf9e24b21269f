"""Which repositories hold a detector beside what is pointed at, and whose eyes it sees with. What both then answer:
tests/e2e/test_vision.py, with torchvision.
"""

from __future__ import annotations

import transformers
from torch import nn

from modelyard.worker.runtimes.detectors import add_detector, find_detector


def test_a_repository_of_two_models_has_a_detector() -> None:
    assert find_detector(transformers.Sam3VideoConfig()).__name__ == "Sam3Model"
    assert find_detector(transformers.Sam3TrackerConfig()) is None
    assert find_detector(transformers.SamConfig()) is None


class Seeing(nn.Module):
    """With the eyes of one of the library's models."""

    def __init__(self, image_size: int = 32) -> None:
        super().__init__()
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
        self.vision_encoder = nn.Module()
        self.vision_encoder.backbone = transformers.ViTModel(transformers.ViTConfig(image_size=image_size, **sizes))


def test_a_detector_sees_with_the_eyes_of_the_model_that_it_is_a_part_of() -> None:
    model, detector, config = Seeing(), Seeing(), transformers.Sam3VideoConfig()
    before = sum(each.numel() for each in model.parameters())
    add_detector(model, detector, config)
    assert model.detector is detector
    assert model.config is config
    assert not detector.training
    assert sum(each.numel() for each in model.parameters()) == before


def test_eyes_that_see_other_sizes_are_not_shared() -> None:
    model, detector = Seeing(), Seeing(48)
    own = detector.vision_encoder.backbone
    add_detector(model, detector, transformers.Sam3VideoConfig())
    assert detector.vision_encoder.backbone is own
