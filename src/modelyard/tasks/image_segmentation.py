"""image-segmentation: which pixels of an image belong to what: semantic, instance and panoptic models.

Semantic models give every pixel a label, so they have no score for a whole mask. Theirs is the mean of what the model
thought of the label over the mask's pixels, which the library leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.images import (
    EXAMPLE,
    ImageInputs,
    answer_images,
    height_and_width,
    image_processor,
    pixels_of,
)
from modelyard.tasks.shared.masks import to_png
from modelyard.tasks.shared.scores import sigmoid, softmax

Subtask = Literal["panoptic", "instance", "semantic"]
SUBTASKS: tuple[Subtask, ...] = ("panoptic", "instance", "semantic")
"""Best first: panoptic says most."""
Share = Annotated[float, Meta(ge=0, le=1)]


class ImageSegmentationInputs(ImageInputs, frozen=True, kw_only=True):
    """The image to take apart."""


class ImageSegmentationParams(Params, frozen=True, kw_only=True):
    """What to look for, and how sure to be."""

    subtask: Annotated[
        Subtask | None,
        Meta(
            description="panoptic (every pixel, instances apart), instance (countable things only) or semantic (a "
            "label per pixel); by default the first of these that the model offers"
        ),
    ] = None
    threshold: Annotated[
        Share, Meta(description="instance and panoptic: answer only segments with a score above this, 0 to 1")
    ] = 0.9
    mask_threshold: Annotated[
        Share, Meta(description="instance and panoptic: a pixel belongs to a mask from this probability on, 0 to 1")
    ] = 0.5
    overlap_mask_area_threshold: Annotated[
        Share,
        Meta(
            description="instance and panoptic: drop a segment of which less than this share is left after more "
            "certain ones took their pixels, 0 to 1"
        ),
    ] = 0.5


class Segment(msgspec.Struct, frozen=True):
    """One part of the image."""

    label: Annotated[str, means("label", "what it is")]
    score: Annotated[
        float, means("score", "how sure the model is, 0 to 1; in semantic answers the mean over the mask's pixels")
    ]
    mask_png: Annotated[str, means("mask", "PNG in base64, of the image's size: white where the segment is")]


ImageSegmentationOutput = list[Segment]
"""The segments in the model's order, masks in the size of the image as sent."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Takes each image apart."""

    def prepare(model: Model, call: Call[Any, Any], image: Any) -> dict[str, Array]:
        subtask = choose_subtask(model, call.params.subtask)  # refused before the model works for nothing
        arrays = pixels_of(model, call, image)
        arrays = {name: array for name, array in arrays.items() if array.size}  # the places of no pieces
        return {**arrays, "task_inputs": subtask_tokens(model, subtask)} if "task_inputs" in arrays else arrays

    def read(call: Call[Any, Any], image: Any, outputs: Mapping[str, Any]) -> list[Segment]:
        subtask = choose_subtask(model, call.params.subtask)
        if subtask == "semantic":
            return read_labels(model, outputs, height_and_width(image))
        return read_segments(model, outputs, subtask, call.params, height_and_width(image))

    return answer_images(model, calls, read, prepare=prepare)


def choose_subtask(model: Model, wanted: Subtask | None) -> Subtask:
    """The subtask to do. Raises InvalidRequest for one that the model does not offer."""
    offered = [subtask for subtask in SUBTASKS if model.can_postprocess(postprocessor(subtask))]
    if getattr(image_processor(model), "do_split_image", False):  # EoMT's semantic models see an image in pieces
        offered = [subtask for subtask in offered if subtask == "semantic"]
    if wanted is None and offered:
        return offered[0]
    if wanted in offered:
        return wanted
    raise InvalidRequest(
        field="params.subtask", got=wanted, accepted=f"what this model offers: {', '.join(offered) or 'none'}"
    )


def subtask_tokens(model: Model, subtask: Subtask) -> Array:
    """What to do, for models that are told so in words (OneFormer): (1, n) int64.

    Source: transformers' OneFormerProcessor.
    """
    length = model.config["task_seq_len"]
    encoded = model.tokenizer(f"the task is {subtask}", padding="max_length", max_length=length, return_tensors="np")
    return np.asarray(encoded["input_ids"])


def postprocessor(subtask: Subtask) -> str:
    """What the library calls the step that turns the outputs into segments."""
    return f"post_process_{subtask}_segmentation"


def read_segments(
    model: Model, outputs: Mapping[str, Any], subtask: Subtask, params: ImageSegmentationParams, size: tuple[int, int]
) -> list[Segment]:
    """Instances, or everything, each with the score that the model gives it. `size`: (height, width)."""
    (found,) = model.postprocess(
        postprocessor(subtask),
        outputs,
        threshold=params.threshold,
        mask_threshold=params.mask_threshold,
        overlap_mask_area_threshold=params.overlap_mask_area_threshold,
        target_sizes=[size],
    )
    return [
        Segment(name_of(model, part["label_id"]), float(part["score"]), to_png(found["segmentation"] == part["id"]))
        for part in found["segments_info"]
    ]


def read_labels(model: Model, outputs: Mapping[str, Any], size: tuple[int, int]) -> list[Segment]:
    """One segment for each label that some pixel has. `size`: (height, width)."""
    if "patch_offsets" in outputs:
        labels, scores = join_pieces(model, outputs, size)
    else:
        (labels,) = model.postprocess(postprocessor("semantic"), outputs, target_sizes=[size])
        scores = pixel_scores(outputs)
    return [
        Segment(name_of(model, label), mean_score(scores[int(label)], labels == label), to_png(labels == label))
        for label in np.unique(labels)
    ]


def join_pieces(model: Model, outputs: Mapping[str, Any], size: tuple[int, int]) -> tuple[Array, Array]:
    """The label of each pixel, (h, w), and how well each label fits it, (labels, h, w), of an image that was seen in
    pieces, which the outputs are of. `size`: (height, width)."""
    places = list(outputs["patch_offsets"])
    given = {**outputs, "patch_offsets": places}
    options = {"target_sizes": [size], "return_segmentation_scores": True}
    (found,) = model.postprocess(postprocessor("semantic"), given, **options)
    return found["segmentation"], np.minimum(found["segmentation_scores"], 1.0)


def pixel_scores(outputs: Mapping[str, Any]) -> Array:
    """How well each label fits each pixel, 0 to 1, at the resolution that the model works in: (labels, h, w).

    Models that outline things give masks and a label to each; a pixel's label gets what its masks say together.
    """
    if "masks_queries_logits" in outputs:
        classes, masks = outputs["class_queries_logits"][0], outputs["masks_queries_logits"][0]
    elif "pred_masks" in outputs:
        classes, masks = outputs["logits"][0], outputs["pred_masks"][0]
    else:
        return softmax(outputs["logits"][0], axis=0)
    fits: Array = np.einsum("qc,qhw->chw", softmax(classes)[:, :-1], sigmoid(masks))
    return np.minimum(fits, 1.0)


def mean_score(scores: Array, mask: Array) -> float:
    """The mean of `scores`, (h, w), over the `mask` of the image's own size; the greatest where it falls between."""
    rows, columns = (
        np.minimum((np.arange(few) + 0.5) * many / few, many - 1).astype(int)
        for few, many in zip(scores.shape, mask.shape, strict=True)
    )
    covered = scores[mask[np.ix_(rows, columns)]]
    return float(covered.mean() if covered.size else scores.max())


def name_of(model: Model, label: Any) -> str:
    """What the model calls a label."""
    return model.labels.get(int(label), f"LABEL_{label}")


TASK = Task(
    id="image-segmentation",
    summary="Say which pixels of an image belong to what.",
    inputs=ImageSegmentationInputs,
    params=ImageSegmentationParams,
    output=ImageSegmentationOutput,
    run=run,
    heads=("semantic-segmentation", "universal-segmentation", "instance-segmentation", "image-segmentation"),
    example={"base64": EXAMPLE},
    media="image",
    wildcard="url",
    max_batch=4,
    sizes=sizes.images,
)
