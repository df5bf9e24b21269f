"""image-feature-extraction: what a model makes of an image: one vector for each of the places it looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
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
            vectors: list[list[float]] = to_rows(features_of(outputs)[0], width_of(model)).tolist()
            return vectors
        if "pooler_output" not in outputs:
            raise InvalidRequest(
                field="params.pool", got=True, accepted="false: this model has no vector for the whole"
            )
        pooled: list[float] = outputs["pooler_output"].reshape(-1).tolist()
        return [pooled]

    return answer_images(model, calls, read, method=method)


def features_of(outputs: Mapping[str, Any]) -> Array:
    """What the model makes of an image, a batch of one: its last states, else the last of a backbone's maps."""
    found = outputs.get("last_hidden_state", outputs.get("feature_maps", next(iter(outputs.values()))))
    features: Array = found if isinstance(found, np.ndarray) else found[-1]
    return features


def width_of(model: Model) -> int | None:
    """Channels of the model's last map, where its config says so."""
    config = model.config.get("backbone_config") or model.config
    stages = config.get("embed_dim_per_stage")
    width = stages[-1] if stages else config.get("hidden_size", config.get("num_features"))
    return width if isinstance(width, int) else None


def to_rows(features: Array, width: int | None) -> Array:
    """One vector per row: tokens are so already; maps, (channels, h, w) or (h, w, channels) of `width` channels, become
    (h × w, channels)."""
    if features.ndim == 2:
        return features
    if features.shape[-1] == width != features.shape[0]:
        return features.reshape(-1, features.shape[-1])
    return features.reshape(len(features), -1).T


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
