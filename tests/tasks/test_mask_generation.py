"""mask-generation: the library's masks for points and boxes, and for everything, in the size of the image as sent."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.concepts import phrase_tokens
from modelyard.tasks.shared.masks import boxes_around, distinct
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned
from tests.builders.reference import library_model

TASK = get_task("mask-generation")
LOOSE = {"points_per_side": 5, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.2}
FITTING = {
    "sam": {**LOOSE, "mask_threshold": 0.04, "stability_score_offset": 0.003},
    "sam_hq": {**LOOSE, "mask_threshold": 0.5, "stability_score_offset": 0.02},
}
"""Settings with which these random models find several things: how far their numbers reach differs."""


@pytest.fixture(params=["sam", "sam_hq"])
def model(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "mask-generation")


def masks_of(answer: Any) -> Any:
    size = answer["input_image_dimensions"]
    masks = [np.asarray(Image.open(io.BytesIO(base64.b64decode(mask)))) > 0 for mask in answer["masks"]]
    assert {mask.shape for mask in masks} <= {(size["height"], size["width"])}
    return np.array(masks)


def assert_same(answer: Any, masks: Any, scores: Any) -> None:
    assert answer["scores"] == pytest.approx(np.asarray(scores).reshape(-1).tolist(), abs=1e-4)
    assert len(answer["masks"]) == len(answer["scores"]) > 0
    assert (masks_of(answer) != np.asarray(masks).reshape(masks_of(answer).shape)).mean() < 1e-3


def reference(model: Model, image: Any, several: Any = True, **prompts: Any) -> Any:
    library = library_model("AutoModelForMaskGeneration", model.path)
    inputs = model.processor(image, return_tensors="pt", **prompts)
    prompts = {name: value.float() for name, value in inputs.items() if name in ("input_points", "input_boxes")}
    with torch.inference_mode():
        outputs = library(**{**inputs, **prompts}, multimask_output=several)
    (masks,) = model.processor.image_processor.post_process_masks(
        outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )
    return masks, outputs.iou_scores


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("several", [True, False])
def test_masks_for_a_point_are_the_librarys(model: Model, ask: Ask, size: Any, several: bool) -> None:
    image = picture(size)
    params = {"input_points": [[20, 30]], "multimask_output": several}
    answer = ask(TASK, model, {"base64": to_base64(image), "params": params})
    assert len(answer["masks"]) == (3 if several else 1)
    assert answer["input_image_dimensions"] == {"width": size[0], "height": size[1]}
    assert_same(answer, *reference(model, image, several, input_points=[[[20, 30]]]))


def test_several_points_and_labels_on_one_thing(model: Model, ask: Ask) -> None:
    params = {"input_points": [[20, 30], [5, 8]], "input_labels": [1, 0]}
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": params})
    assert_same(answer, *reference(model, picture(), input_points=[[[20, 30], [5, 8]]], input_labels=[[1, 0]]))


def test_several_things_each_with_its_points(model: Model, ask: Ask) -> None:
    points = [[[20, 30], [5, 8]], [[40, 11], [3, 3]]]
    labels = [[1, 1], [1, 0]]
    params = {"input_points": points, "input_labels": labels}
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": params})
    assert_same(answer, *reference(model, picture(), input_points=[points], input_labels=[labels]))


def test_things_may_have_different_numbers_of_points(model: Model, ask: Ask) -> None:
    def masks(points: Any) -> Any:
        return masks_of(ask(TASK, model, {"base64": to_base64(picture()), "params": {"input_points": points}}))

    both = masks([[[20, 30], [5, 8]], [[40, 11]]])
    assert np.array_equal(both[:3], masks([[20, 30], [5, 8]]))
    assert (both[3:] != masks([[40, 11]])).mean() < 0.2


def test_boxes_are_the_librarys(model: Model, ask: Ask) -> None:
    boxes = [[4.0, 6.0, 30.0, 40.0], [10.0, 2.0, 60.0, 20.0]]
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": {"input_boxes": boxes}})
    assert_same(answer, *reference(model, picture(), input_boxes=[boxes]))
    one = ask(TASK, model, {"base64": to_base64(picture()), "params": {"input_boxes": boxes[0]}})
    assert one["scores"] == pytest.approx(answer["scores"][:3], abs=1e-4)


def everything(model: Model, image: Any, params: Any) -> Any:
    """What the library's pipeline does, with a plain suppression of repeated masks instead of torchvision's."""
    processor = model.processor.image_processor
    boxes, points, crops, labels = processor.generate_crop_boxes(
        image, processor.size["longest_edge"], points_per_crop=params["points_per_side"]
    )
    inputs = processor(crops, return_tensors="pt")
    library = library_model("AutoModelForMaskGeneration", model.path)
    with torch.inference_mode():
        outputs = library(
            pixel_values=inputs["pixel_values"],
            input_points=points.permute(2, 1, 0, 3).float(),
            input_labels=labels.permute(2, 1, 0),
        )
    (masks,) = processor.post_process_masks(
        outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"], binarize=False
    )
    rles, scores, corners = processor.filter_masks(
        masks,
        outputs.iou_scores[0],
        inputs["original_sizes"][0].tolist(),
        boxes[0],
        params["pred_iou_thresh"],
        params["stability_score_thresh"],
        params["mask_threshold"],
        stability_score_offset=params["stability_score_offset"],
    )
    kept: list[Any] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if not any(overlap(corners[index], corners[other]) > params["crops_nms_thresh"] for other in kept):
            kept.append(index)
    from transformers.models.sam.image_processing_pil_sam import _rle_to_mask

    return np.array([_rle_to_mask(rles[index]) for index in kept]), scores[kept]


def overlap(one: Any, other: Any) -> Any:
    low, high = torch.maximum(one[:2], other[:2]), torch.minimum(one[2:], other[2:])
    shared = (high - low).clamp(min=0).prod()
    return shared / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - shared)


@pytest.mark.parametrize("size", SIZES)
def test_everything_is_what_the_librarys_steps_find(model: Model, ask: Ask, size: Any) -> None:
    image = picture(size)
    counts = []
    for most in (0.7, 0.99):
        params = {**FITTING[model.path.name], "crops_nms_thresh": most}
        masks, scores = everything(model, image, params)
        assert_same(ask(TASK, model, {"base64": to_base64(image), "params": params}), masks, scores)
        counts.append(len(masks))
    assert 1 <= counts[0] < counts[1]


def test_everything_does_not_depend_on_how_many_points_are_seen_together(model: Model, ask: Ask) -> None:
    body = {"base64": to_base64(picture())}
    one, all_ = (
        ask(TASK, model, {**body, "params": {**FITTING[model.path.name], "points_per_batch": count}})
        for count in (7, 1024)
    )
    assert_same(one, masks_of(all_), all_["scores"])


def test_nothing_certain_enough_is_no_mask(model: Model, ask: Ask) -> None:
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": {"points_per_side": 2, "pred_iou_thresh": 1.0,
                                                                           "stability_score_thresh": 1.0}})  # fmt: skip
    assert answer["masks"] == answer["scores"] == []


def test_client_that_left_is_not_worked_for(model: Model, ask: Ask) -> None:
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": LOOSE}, cancelled=lambda: True)
    assert answer["masks"] == []


def test_batch_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [
        {"base64": to_base64(picture(size, seed)), "params": {"input_points": [[20, 30]]}}
        for seed, size in enumerate(SIZES)
    ]
    for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
        assert_same(one, masks_of(alone), alone["scores"])


def test_points_are_pixels_of_the_upright_image(model: Model, ask: Ask) -> None:
    image, params = picture((41, 73)), {"input_points": [[20, 70]]}
    upright, lying = (
        ask(TASK, model, {"base64": data, "params": params}) for data in (to_base64(image), turned(image))
    )
    assert upright == lying


def test_point_outside_of_the_image_fails_alone_and_is_named(model: Model, ask: Ask) -> None:
    params = {"params": {"input_points": [[60, 20]]}}
    error, answer = ask(
        TASK, model, {"base64": to_base64(picture((41, 73))), **params}, {"base64": to_base64(picture()), **params}
    )
    assert error.data["field"] == "params.input_points"
    assert "41" in error.message
    assert len(answer["masks"]) == 3


def test_a_text_is_refused_where_the_model_reads_none(load: Load, ask: Ask) -> None:
    body = {"base64": to_base64(picture()), "text": "yellow bus"}
    error = ask(TASK, load("sam", "mask-generation"), body)
    assert error.data["field"] == "text"
    assert "params.input_points" in error.message


def test_a_text_is_read_in_as_many_tokens_as_the_library_fills_it_up_to(load: Load) -> None:
    model = load("clip", "zero-shot-image-classification")
    tokens = phrase_tokens(model, "a fox")
    assert {name: ids.shape for name, ids in tokens.items()} == {"input_ids": (1, 32), "attention_mask": (1, 32)}
    assert tokens["attention_mask"].sum() == len(model.tokenizer("a fox")["input_ids"])
    with pytest.raises(InvalidRequest, match=r"text: got '[0-9]+ tokens'; accepted: at most 32"):
        phrase_tokens(model, "a fox " * 32)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"input_points": [1, 2, 3]}, "input_points"),
        ({"input_points": [[1, "2"]]}, "input_points"),
        ({"input_points": []}, "input_points"),
        ({"input_points": [[]]}, "input_points"),
        ({"input_points": [[[1, 2]], [[1, True]]]}, "input_points"),
        ({"input_points": [[1, 2]], "input_labels": [1, 0]}, "input_labels"),
        ({"input_points": [[1, 2]], "input_labels": [2]}, "input_labels"),
        ({"input_labels": [1]}, "input_labels"),
        ({"input_boxes": [1, 2, 3]}, "input_boxes"),
        ({"input_boxes": [9, 2, 3, 4]}, "input_boxes"),
        ({"input_points": [[1, 2]], "input_boxes": [[1, 2, 3, 4], [1, 2, 3, 4]]}, "input_boxes"),
        ({"points_per_side": 0}, "points_per_side"),
        ({"points_per_side": 1000}, "points_per_side"),
        ({"pred_iou_thresh": 2}, "pred_iou_thresh"),
        ({"stability_score_offset": 0}, "stability_score_offset"),
        ({"threshold": 2}, "threshold"),
    ],
)
def test_wrong_params_are_named(params: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, {"base64": "AAAA", "params": params})
    assert raised.value.data["field"] == f"params.{field}"


def test_of_overlapping_boxes_the_best_is_kept() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [5, 0, 15, 10], [0, 0, 0, 0]], dtype=float)
    assert distinct(boxes, np.array([0.8, 0.9, 0.1, 0.7, 0.2]), 0.7) == [1, 3, 4, 2]
    assert distinct(np.zeros((0, 4)), np.zeros(0), 0.7) == []


def test_box_around_a_mask_ends_at_its_last_pixel() -> None:
    masks = np.zeros((2, 6, 8), dtype=bool)
    masks[0, 2:5, 3:7] = True
    assert boxes_around(masks).tolist() == [[3, 2, 6, 4], [0, 0, 0, 0]]
