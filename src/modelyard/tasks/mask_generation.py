"""mask-generation: the outlines of things in an image: those pointed at, those that a text names, or all there are. For
all, a grid of points is asked one after the other, and what is certain, clear-cut and new is kept, best first.

Sources: the papers "Segment Anything" and "SAM 3: Segment Anything with Concepts", and the library's pipeline and
processors, whose names and defaults the settings have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task
from modelyard.tasks.hints import filled_in_as, means
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.concepts import find_detector_pass, masks_of_things, phrase_tokens
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs, answer_each_image, height_and_width, pixels_of
from modelyard.tasks.shared.masks import boxes_around, distinct, stability, to_png
from modelyard.tasks.shared.points import PointsAndBoxes, read_points_and_boxes

Share = Annotated[float, Meta(ge=0, le=1)]
Prompts = Annotated[list[Any], Meta(min_length=1, max_length=256)]
MASKS_AT_ONCE = 16
"""Masks scaled to the image's size together: each is 4 bytes per pixel while it is looked at."""


class MaskGenerationInputs(ImageInputs, frozen=True, kw_only=True):
    """The image to outline things in, and a name for them."""

    text: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(
            description="models that read texts (SAM 3): what to outline, in a few words, such as `yellow bus`; each "
            "of them gets a mask"
        ),
    ] = None


class MaskGenerationParams(Params, frozen=True, kw_only=True):
    """What to outline; without points, boxes and a text, everything, and then how to look for it."""

    input_points: Annotated[
        Prompts | None,
        filled_in_as(
            "points",
            "points on one thing as [[x, y], ...], or a list of such lists for several; pixels as sent",
        ),
    ] = None
    input_labels: Annotated[
        Prompts | None,
        Meta(description="for each point 1 (on the thing) or 0 (beside it), nested like input_points; 1 by default"),
    ] = None
    input_boxes: Annotated[
        Prompts | None,
        filled_in_as(
            "boxes",
            "the box around a thing as [xmin, ymin, xmax, ymax], or a list of such; pixels as sent",
        ),
    ] = None
    multimask_output: Annotated[
        bool, Meta(description="points and boxes: three masks for each thing, from part to whole, or the one best")
    ] = True
    mask_threshold: Annotated[
        Annotated[float, Meta(ge=-100, le=100)],
        Meta(description="how sure the model must be that a pixel belongs to a mask; 0 is even odds"),
    ] = 0.0
    threshold: Annotated[Share, Meta(description="text: answer only things with a score above this, 0 to 1")] = 0.3
    points_per_side: Annotated[
        Annotated[int, Meta(ge=1, le=128)],
        Meta(description="without points, boxes and a text: the grid is this many squared"),
    ] = 32
    points_per_batch: Annotated[
        Annotated[int, Meta(ge=1, le=1024)], Meta(description="grid points that the model sees together")
    ] = 64
    pred_iou_thresh: Annotated[
        Share, Meta(description="grid: keep masks with a score above this, 0 to 1; 0 keeps all")
    ] = 0.88
    stability_score_thresh: Annotated[
        Share, Meta(description="grid: keep masks that stay this much the same when the threshold moves; 0 keeps all")
    ] = 0.95
    stability_score_offset: Annotated[
        Annotated[float, Meta(gt=0, le=100)], Meta(description="grid: how far the threshold moves for that")
    ] = 1.0
    crops_nms_thresh: Annotated[
        Share, Meta(description="grid: of masks whose boxes overlap by more than this, only the best is kept")
    ] = 0.7

    def __post_init__(self) -> None:
        """Raises InvalidRequest for points and boxes that are none."""
        read_points_and_boxes(self.input_points, self.input_labels, self.input_boxes)


class Dimensions(msgspec.Struct, frozen=True):
    """A size in pixels."""

    width: Annotated[int, Meta(description="pixels from left to right")]
    height: Annotated[int, Meta(description="pixels from top to bottom")]


class Masks(msgspec.Struct, frozen=True):
    """The outlines that were found."""

    input_image_dimensions: Annotated[Dimensions, Meta(description="the size of the image, upright, and of each mask")]
    masks: Annotated[list[str], means("mask", "each mask as a PNG in base64, white where the thing is")]
    scores: Annotated[list[float], means("score", "how good the model thinks each mask is, about 0 to 1")]


MaskGenerationOutput = Masks
"""Masks with their scores: thing by thing as pointed at; otherwise best first."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Outlines things in each image, one image at a time: each is many passes anyway."""
    return answer_each_image(calls, lambda call, image: outline(model, call, image))


def outline(model: Model, call: Call[Any, MaskGenerationParams], image: Any) -> Masks:
    """The answer for one image. Raises InvalidRequest."""
    masks = [(to_png(mask), score) for mask, score in find_masks(model, call, image)]
    if call.inputs.text is not None:
        masks.sort(key=lambda each: -each[1])
    return Masks(Dimensions(image.width, image.height), [mask for mask, _ in masks], [score for _, score in masks])


def find_masks(
    model: Model, call: Call[MaskGenerationInputs, MaskGenerationParams], image: Any
) -> Iterable[tuple[Array, float]]:
    """Each mask, (h, w) bool, that the call asks for, with its score. Raises InvalidRequest, also for what the model
    is not told by."""
    params, detector = call.params, find_detector_pass(model)
    if call.inputs.text is not None:
        return things_named(model, detector, call, image)
    if detector == "forward":
        accepted = "what to outline, in a few words, which is all that this model is told by"
        raise InvalidRequest(f"text: missing; accepted: {accepted}", field="text")
    targets = read_points_and_boxes(params.input_points, params.input_labels, params.input_boxes)
    if targets is not None:
        targets.check_inside(image.width, image.height)
    view = View(model, pixels_of(model, call, image))
    return everything(view, call) if targets is None else masks_of_targets(view, targets, params)


def things_named(
    model: Model, detector: str | None, call: Call[MaskGenerationInputs, MaskGenerationParams], image: Any
) -> Iterator[tuple[Array, float]]:
    """Each mask, (h, w) bool, of what the call's text names with its score, in the model's order, by its pass
    `detector`. Raises InvalidRequest."""
    text, params = str(call.inputs.text), call.params
    if detector is None:
        accepted = "none: this model reads no texts, but params.input_points and params.input_boxes"
        raise InvalidRequest(field="text", got=text, accepted=accepted)
    for name in ("input_points", "input_labels", "input_boxes"):
        if (given := getattr(params, name)) is not None:
            raise InvalidRequest(field=f"params.{name}", got=given, accepted="none beside a text")
    arguments = {**pixels_of(model, call, image), **phrase_tokens(model, text)}
    return masks_of_things(
        model,
        model.forward(arguments, method=detector),
        height_and_width(image),
        threshold=params.threshold,
        mask_threshold=params.mask_threshold,
    )


class View:
    """One image as the model sees it, encoded once and asked about many times."""

    def __init__(self, model: Model, pixels: Mapping[str, Array]) -> None:
        """`pixels`: what the image processor made of the image."""
        self.model = model
        self.height, self.width = (int(side) for side in pixels["original_sizes"][0])
        sizes = {name: pixels[name] for name in ("original_sizes", "reshaped_input_sizes") if name in pixels}
        self._sizes = {name: array.tolist() for name, array in sizes.items()}
        whole = pixels["pixel_values"].shape[-2:]  # which the image fills where nothing else is said
        seen_height, seen_width = sizes.get("reshaped_input_sizes", [whole])[0]
        self._scale = np.array([seen_width / self.width, seen_height / self.height])
        self._arguments: dict[str, Any] = {"pixel_values": pixels["pixel_values"]}
        encoded = model.forward(self._arguments, method="get_image_embeddings")["output"]
        maps = [encoded] if isinstance(encoded, np.ndarray) else encoded
        if all(isinstance(each, np.ndarray) for each in maps):  # SAM-HQ's has lists in it, and it reads the pixels anew
            self._arguments = {"image_embeddings": encoded}

    def ask(self, targets: PointsAndBoxes, *, several: bool) -> tuple[Array, Array]:
        """The model's own masks, (things, masks, h, w) logits, and their scores, (things, masks)."""
        prompts: dict[str, Array] = {}
        if targets.points is not None and targets.labels is not None:
            prompts = {"input_points": (targets.points * self._scale)[None], "input_labels": targets.labels[None]}
        if targets.boxes is not None:
            prompts["input_boxes"] = (targets.boxes * np.tile(self._scale, 2))[None]
        outputs = self.model.forward({**self._arguments, **prompts}, multimask_output=several)
        return outputs["pred_masks"][0], outputs["iou_scores"][0]

    def scale(self, masks: Array) -> Array:
        """Masks, (n, h, w) logits, in the image's own size."""
        (scaled,) = self.model.postprocess("post_process_masks", [masks[:, None]], **self._sizes, binarize=False)
        full: Array = scaled[:, 0]
        return full


def masks_of_targets(
    view: View, targets: PointsAndBoxes, params: MaskGenerationParams
) -> Iterator[tuple[Array, float]]:
    """Each mask, (h, w) bool, of each thing with its score, in the model's order."""
    masks, scores = view.ask(targets, several=params.multimask_output)
    masks, scores = masks.reshape(-1, *masks.shape[-2:]), scores.reshape(-1)
    for start in range(0, len(masks), MASKS_AT_ONCE):
        part = slice(start, start + MASKS_AT_ONCE)
        yield from zip(view.scale(masks[part]) > params.mask_threshold, map(float, scores[part]), strict=True)


def everything(view: View, call: Call[Any, MaskGenerationParams]) -> list[tuple[Array, float]]:
    """Each mask, (h, w) bool, that a grid of points finds, with its score; best first, none twice.

    A client that leaves gets what was found so far.
    """
    params = call.params
    packed: list[Array] = []  # an eighth of a byte per pixel: there can be thousands
    boxes, scores = [np.zeros((0, 4))], [np.zeros(0)]
    points = grid(params.points_per_side) * [view.width, view.height]
    for start in range(0, len(points), params.points_per_batch):
        if call.cancelled():
            break
        some = points[start : start + params.points_per_batch, None]
        found = view.ask(PointsAndBoxes(some, np.ones(some.shape[:2], dtype=np.int64), None), several=True)
        for masks, own in certain(view, *found, params):
            packed.extend(np.packbits(mask) for mask in masks)
            boxes.append(boxes_around(masks))
            scores.append(own)
    all_scores = np.concatenate(scores)
    size = (view.height, view.width)
    return [
        (np.unpackbits(packed[index], count=size[0] * size[1]).reshape(size).astype(bool), float(all_scores[index]))
        for index in distinct(np.concatenate(boxes), all_scores, params.crops_nms_thresh)
    ]


def certain(view: View, masks: Array, scores: Array, params: MaskGenerationParams) -> Iterator[tuple[Array, Array]]:
    """The masks, (n, h, w) bool in the image's size, that pass the thresholds, with their scores, (n,), in parts."""
    masks, scores = masks.reshape(-1, *masks.shape[-2:]), scores.reshape(-1)
    good = np.flatnonzero((scores > params.pred_iou_thresh) | (params.pred_iou_thresh == 0))
    for start in range(0, len(good), MASKS_AT_ONCE):
        part = good[start : start + MASKS_AT_ONCE]
        scaled, own = view.scale(masks[part]), scores[part]
        if params.stability_score_thresh > 0:
            stable = stability(scaled, params.mask_threshold, params.stability_score_offset)
            kept = stable > params.stability_score_thresh
            scaled, own = scaled[kept], own[kept]
        yield scaled > params.mask_threshold, own


def grid(side: int) -> Array:
    """Points, (side × side, 2), in the middles of equal cells of a unit square, row by row."""
    middles = (np.arange(side) + 0.5) / side
    return np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)


TASK = Task(
    id="mask-generation",
    summary="Outline the things in an image: those you point at, those you name, or all of them.",
    inputs=MaskGenerationInputs,
    params=MaskGenerationParams,
    output=MaskGenerationOutput,
    run=run,
    heads=("mask-generation", "concept-segmentation"),
    example={"base64": EXAMPLE, "params": {"input_points": [[16, 12]]}},
    media="image",
    wildcard="url",
    max_batch=4,
    sizes=sizes.images_with_a_point_or_a_name,
)
