"""zero-shot-object-detection: the library's boxes for labels that the request brings along, in pixels as sent."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned
from tests.builders.reference import library_model

TASK = get_task("zero-shot-object-detection")
LABELS = ["a fox", "the old river", "sunny"]
OWLS = ["owlvit", "owlv2"]


@pytest.fixture(params=[*OWLS, "grounding_dino"])
def model(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "zero-shot-object-detection")


def assert_same(answer: Any, expected: Any) -> None:
    assert [(row["label"], row["box"]) for row in answer] == [(row["label"], row["box"]) for row in expected]
    assert [row["score"] for row in answer] == pytest.approx([row["score"] for row in expected], abs=1e-4)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("family", OWLS)
def test_the_pipelines_objects_best_first(load: Load, ask: Ask, family: str, size: Any) -> None:
    model, image = load(family, "zero-shot-object-detection"), picture(size)
    library = transformers.pipeline("zero-shot-object-detection", model=str(model.path))
    body = {"base64": to_base64(image), "candidate_labels": LABELS}
    expected = library(image, candidate_labels=LABELS, threshold=0.3)
    assert expected
    assert_same(ask(TASK, model, {**body, "params": {"threshold": 0.3}}), expected)
    assert_same(ask(TASK, model, {**body, "params": {"threshold": 0.3, "top_k": 2}}), expected[:2])
    assert_same(ask(TASK, model, body), library(image, candidate_labels=LABELS))


@pytest.mark.parametrize("size", SIZES)
def test_grounded_labels_get_the_score_of_their_best_token(load: Load, ask: Ask, size: Any) -> None:
    model, image = load("grounding_dino", "zero-shot-object-detection"), picture(size)
    library = library_model("AutoModelForZeroShotObjectDetection", model.path)
    inputs = model.processor(images=image, text=[LABELS], return_tensors="pt")
    with torch.inference_mode():
        outputs = library(**inputs)
    found = model.processor.post_process_grounded_object_detection(outputs, threshold=0.0, target_sizes=[size[::-1]])[0]
    answer = ask(TASK, model, {"base64": to_base64(image), "candidate_labels": LABELS, "params": {"threshold": 0.0}})
    words = model.tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])
    chances = outputs.logits[0].sigmoid()
    first_stop, second_stop = (place for place, word in enumerate(words[:-2]) if word == ".")
    spans = [(1, first_stop), (first_stop + 1, second_stop), (second_stop + 1, len(words) - 2)]
    expected = [
        {
            "score": chances[query, left:right].max().item(),
            "label": label,
            "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), corners.int().tolist(), strict=True)),
        }
        for label, (left, right) in zip(LABELS, spans, strict=True)
        for query, corners in enumerate(found["boxes"])
    ]
    assert_same(answer, sorted(expected, key=lambda row: -row["score"]))


def test_batch_of_many_shapes_and_labels_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [
        {
            "base64": to_base64(picture(size, seed)),
            "candidate_labels": LABELS[: 1 + seed % 3],
            "params": {"threshold": 0.3},
        }
        for seed, size in enumerate([*SIZES, *SIZES])
    ]
    for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
        assert_same(one, alone)


def test_boxes_are_those_of_the_upright_image(model: Model, ask: Ask) -> None:
    body = {"candidate_labels": "a fox, sunny", "params": {"threshold": 0.3}}
    upright, lying = ask(
        TASK, model, {**body, "base64": to_base64(picture((41, 73)))}, {**body, "base64": turned(picture((41, 73)))}
    )
    assert upright
    assert_same(upright, lying)


@pytest.mark.parametrize("label", ["word " * 300, " , "])
def test_label_that_the_model_cannot_read_fails_alone_and_is_named(model: Model, ask: Ask, label: Any) -> None:
    body = {"base64": to_base64(picture())}
    error, answer = ask(TASK, model, {**body, "candidate_labels": label}, {**body, "candidate_labels": LABELS})
    assert error.data["field"] == "candidate_labels"
    assert isinstance(answer, list)


@pytest.mark.parametrize(("name", "value"), [("threshold", 2), ("threshold", "low"), ("top_k", 0)])
def test_wrong_params_are_named(name: str, value: int | str) -> None:
    with pytest.raises(InvalidRequest, match=rf"params\.{name}"):
        read(TASK, {"base64": "AAAA", "candidate_labels": LABELS, "params": {name: value}})
