"""object-detection: what is in an image and where, among the labels the model knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.boxes import Detection, to_box
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs, answer_images, height_and_width


class ObjectDetectionInputs(ImageInputs, frozen=True, kw_only=True):
    """The image to look at."""


class ObjectDetectionParams(Params, frozen=True, kw_only=True):
    """What to answer."""

    threshold: Annotated[
        Annotated[float, Meta(ge=0, le=1)], Meta(description="answer only objects with a score above this, 0 to 1")
    ] = 0.5


ObjectDetectionOutput = list[Detection]
"""The objects in the model's order, their boxes in pixels of the image as sent."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Finds the objects in each image."""

    def read(call: Call[Any, Any], image: Any, outputs: Mapping[str, Any]) -> list[Detection]:
        (found,) = model.postprocess(
            "post_process_object_detection",
            outputs,
            threshold=call.params.threshold,
            target_sizes=[height_and_width(image)],
        )
        return [
            Detection(float(score), model.labels.get(int(label), f"LABEL_{label}"), to_box(corners))
            for score, label, corners in zip(found["scores"], found["labels"], found["boxes"], strict=True)
        ]

    return answer_images(model, calls, read)


TASK = Task(
    id="object-detection",
    summary="Find the objects in an image, with their labels and boxes.",
    inputs=ObjectDetectionInputs,
    params=ObjectDetectionParams,
    output=ObjectDetectionOutput,
    run=run,
    heads=("object-detection",),
    example={"base64": EXAMPLE},
    media="image",
    wildcard="url",
    max_batch=8,
    sizes=sizes.images,
)
