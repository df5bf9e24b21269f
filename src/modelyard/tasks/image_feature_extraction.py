"""image-feature-extraction: what a model makes of an image: one vector for each of the places it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs, answer_images
from modelyard.tasks.shared.sentence_folder import compares_images


class ImageFeatureExtractionInputs(ImageInputs, frozen=True, kw_only=True):
    """The image to look at."""


class ImageFeatureExtractionParams(Params, frozen=True, kw_only=True):
    """How much to answer."""

    pool: Annotated[
        bool, Meta(description="true: one vector for the whole image, from models that were trained to give one")
    ] = False


ImageFeatureExtractionOutput = list[list[float]]
"""A list of vectors: one per token (the class token first, where there is one, then patches from the upper left, row by
row); of a convolutional model, one per place of its last map; one only with `pool`."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Looks at each image."""
    # Models of images and texts: the half that sees, and where they are published to compare both, its projection.
    method = "vision_model" if "vision_config" in model.config else "forward"
    if compares_images(model.path):
        method = "get_image_features"

    def read(call: Call[Any, Any], _image: Any, outputs: Mapping[str, Any]) -> list[list[float]]:
        if not call.params.pool:
            features: Array = outputs.get("last_hidden_state", next(iter(outputs.values())))
            vectors: list[list[float]] = to_rows(features[0]).tolist()
            return vectors
        if "pooler_output" not in outputs:
            raise InvalidRequest(
                field="params.pool", got=True, accepted="false: this model has no vector for the whole"
            )
        pooled: list[float] = outputs["pooler_output"].reshape(-1).tolist()
        return [pooled]

    return answer_images(model, calls, read, method=method)


def to_rows(features: Array) -> Array:
    """One vector per row: tokens are so already, maps, (channels, h, w), become (h × w, channels)."""
    return features if features.ndim == 2 else features.reshape(len(features), -1).T


TASK = Task(
    id="image-feature-extraction",
    summary="Turn an image into vectors.",
    inputs=ImageFeatureExtractionInputs,
    params=ImageFeatureExtractionParams,
    output=ImageFeatureExtractionOutput,
    run=run,
    heads=("base",),
    example={"base64": EXAMPLE},
    media="image",
    wildcard="url",
    sizes=sizes.images,
)
