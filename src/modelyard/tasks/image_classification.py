"""image-classification: how well each of the model's labels fits an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.model import Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs, answer_images
from modelyard.tasks.shared.scores import Label, best_labels, to_scores


class ImageClassificationInputs(ImageInputs, frozen=True, kw_only=True):
    """The image to classify."""


class ImageClassificationParams(Params, frozen=True, kw_only=True):
    """What to do with the scores."""

    top_k: Annotated[
        Annotated[int, Meta(ge=1, le=100_000)], Meta(description="how many labels to answer, best first; 5 by default")
    ] = 5
    function_to_apply: Annotated[
        Literal["softmax", "sigmoid", "none"] | None,
        Meta(description="softmax, sigmoid or none; by default what the model was trained with"),
    ] = None


ImageClassificationOutput = list[Label]
"""Labels with their scores, best first."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Scores each image against the model's labels."""

    def read(call: Call[Any, Any], _image: Any, outputs: Mapping[str, Any]) -> list[Label]:
        logits = outputs["logits" if "logits" in outputs else "last_hidden_state"]  # PP-LCNet has none but this
        scores = to_scores(logits[0], model, call.params.function_to_apply)
        return best_labels(scores, model.labels, call.params.top_k)

    return answer_images(model, calls, read)


TASK = Task(
    id="image-classification",
    summary="Say which of the model's labels fit an image.",
    inputs=ImageClassificationInputs,
    params=ImageClassificationParams,
    output=ImageClassificationOutput,
    run=run,
    heads=("image-classification",),
    example={"base64": EXAMPLE},
    media="image",
    wildcard="url",
    sizes=sizes.images,
    has_variants=True,
)
