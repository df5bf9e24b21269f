"""zero-shot-object-detection: where in an image the things are that the request names.

OWL models score every box against every label. Grounding DINO reads all labels as one text ("a cat. a dog.") and
scores every box against every token; a label's score is that of its best token.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.boxes import Detection, to_box
from modelyard.tasks.shared.candidates import CandidateLabels, split_labels, tokens_of
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs, answer_images, height_and_width, pixels_of


class ZeroShotObjectDetectionInputs(ImageInputs, frozen=True, kw_only=True):
    """The image, and the labels to look for."""

    candidate_labels: CandidateLabels


class ZeroShotObjectDetectionParams(Params, frozen=True, kw_only=True):
    """What to answer."""

    threshold: Annotated[
        Annotated[float, Meta(ge=0, le=1)], Meta(description="answer only objects with a score above this, 0 to 1")
    ] = 0.1
    top_k: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)] | None,
        Meta(description="how many objects to answer, best first; all by default"),
    ] = None


ZeroShotObjectDetectionOutput = list[Detection]
"""The objects, best first, their boxes in pixels of the image as sent."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Looks for its call's labels in each image."""
    columns = columns_of_tokens if grounded(model) else columns_of_labels

    def prepare(model: Model, call: Call[Any, Any], image: Any) -> dict[str, Array]:
        tokens, _ = columns(model, split_labels(call.inputs.candidate_labels))
        return {**tokens, **pixels_of(model, call, image)}

    def read(call: Call[Any, Any], image: Any, outputs: Mapping[str, Any]) -> list[Detection]:
        labels = split_labels(call.inputs.candidate_labels)
        _, places = columns(model, labels)
        found = [
            detection
            for label, own in zip(labels, places, strict=True)
            for detection in find(model, outputs, label, own, call.params.threshold, height_and_width(image))
        ]
        return sorted(found, key=lambda detection: -detection.score)[: call.params.top_k]

    return answer_images(model, calls, read, prepare=prepare)


def grounded(model: Model) -> bool:
    """Whether the model reads all labels as one text."""
    return "grounding-dino" in str(model.config.get("model_type"))


def columns_of_labels(model: Model, labels: Sequence[str]) -> tuple[dict[str, Array], list[list[int]]]:
    """The text arguments, one row per label, and each label's columns of the scores: its own. Raises InvalidRequest."""
    return tokens_of(model, labels, limit=model.max_length), [[index] for index in range(len(labels))]


def columns_of_tokens(model: Model, labels: Sequence[str]) -> tuple[dict[str, Array], list[list[int]]]:
    """The text arguments, one row for all labels, and each label's columns of the scores: its tokens.

    A full stop ends a label, so those inside of labels become spaces. Raises InvalidRequest.
    """
    clean = [" ".join(label.lower().replace(".", " ").split()) for label in labels]
    text = ". ".join(clean) + "."
    tokens = tokens_of(model, [text], limit=model.config.get("max_text_len"))
    places, start = [], 0
    offsets = model.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    for label in clean:
        end = start + len(label)
        places.append([place for place, (left, right) in enumerate(offsets) if start <= left < right <= end])
        start = end + len(". ")
    empty = next((label for label, own in zip(labels, places, strict=True) if not own), None)
    if empty is not None:
        raise InvalidRequest(field="candidate_labels", got=empty, accepted="labels with words in them")
    return tokens, places


def find(
    model: Model, outputs: Mapping[str, Any], label: str, columns: list[int], threshold: float, size: tuple[int, int]
) -> list[Detection]:
    """The objects of one label, in the model's order. `size`: (height, width)."""
    alone = {**outputs, "logits": np.ascontiguousarray(outputs["logits"][..., columns])}
    (found,) = model.postprocess("post_process_object_detection", alone, threshold=threshold, target_sizes=[size])
    return [
        Detection(float(score), label, to_box(corners))
        for score, corners in zip(found["scores"], found["boxes"], strict=True)
    ]


TASK = Task(
    id="zero-shot-object-detection",
    summary="Find the things you name in an image.",
    inputs=ZeroShotObjectDetectionInputs,
    params=ZeroShotObjectDetectionParams,
    output=ZeroShotObjectDetectionOutput,
    run=run,
    heads=("zero-shot-object-detection",),
    example={"base64": EXAMPLE, "candidate_labels": ["a square", "a cat"]},
    media="image",
    wildcard="url",
    max_batch=8,
    sizes=sizes.images_with_labels,
)
