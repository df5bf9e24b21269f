"""Models that outline everything in an image that a text names (SAM 3), by themselves or as a part of one that outlines
what somebody points at. What such a model is told by its config; the text as it reads it; the masks that it finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared.scores import sigmoid

DETECTOR = "detector"
"""The part of a model that finds what a text names, where the model itself does not."""
DETECTOR_CONFIG = f"{DETECTOR}_config"
"""What its config is called in the model's."""
MOST_TOKENS = 32
"""Of a text, which is filled up to as many. Source: transformers' Sam3Processor."""
MASKS_AT_ONCE = 4
"""Masks scaled to the image's size together: the library takes 13 bytes for each pixel of each."""
OF_EACH_THING = ("pred_logits", "pred_boxes", "pred_masks")
"""Outputs that tell of each thing that may be there; `presence_logits` tell whether there is any."""


def find_detector_pass(model: Model) -> str | None:
    """The pass that finds what a text names: the model's own, that of its part, or None where it reads no texts."""
    if DETECTOR_CONFIG in model.config:
        return DETECTOR
    return "forward" if "text_config" in model.config else None


def phrase_tokens(model: Model, text: str) -> dict[str, Array]:
    """The text as the model reads it, a batch of one. Raises InvalidRequest for one that is too long."""
    tokens = model.tokenizer([text], padding="max_length", max_length=MOST_TOKENS)
    if (length := len(tokens["input_ids"][0])) > MOST_TOKENS:
        accepted = f"at most {MOST_TOKENS} tokens, such as a thing's name with an adjective"
        raise InvalidRequest(field="text", got=f"{length} tokens", accepted=accepted)
    return {name: np.asarray(ids) for name, ids in tokens.items()}


def masks_of_things(
    model: Model, outputs: Mapping[str, Any], size: tuple[int, int], *, threshold: float, mask_threshold: float
) -> Iterator[tuple[Array, float]]:
    """Each thing with a score above `threshold`: its mask, (h, w) bool in the image's `size`, and the score; in the
    model's order. `outputs`: of one image; `mask_threshold`: a logit."""
    for start in range(0, outputs["pred_logits"].shape[1], MASKS_AT_ONCE):
        some = slice(start, start + MASKS_AT_ONCE)
        (found,) = model.postprocess(
            "post_process_instance_segmentation",
            {**outputs, **{name: outputs[name][:, some] for name in OF_EACH_THING}},
            threshold=threshold,
            mask_threshold=float(sigmoid(np.array(mask_threshold))),
            target_sizes=[size],
        )
        yield from zip(found["masks"] > 0, map(float, found["scores"]), strict=True)
