"""image-classification: the library's scores for images of any shape."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned
from tests.builders.reference import library_model

TASK = get_task("image-classification")
FAMILIES = ["vit_classifier", "convnext_classifier", "resnet_classifier"]


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "image-classification")


def expected(model: Model, image: Any, apply: Any = None) -> Any:
    library = library_model("AutoModelForImageClassification", model.path)
    with torch.inference_mode():
        logits = library(**model.processor(image, return_tensors="pt")).logits[0]
    apply = apply or (torch.sigmoid if library.config.problem_type else lambda row: row.softmax(-1))
    return {library.config.id2label[index]: score for index, score in enumerate(apply(logits).tolist())}


def by_label(answer: Any) -> Any:
    return {row["label"]: row["score"] for row in answer}


@pytest.mark.parametrize("size", SIZES)
def test_the_librarys_scores_best_first(model: Model, ask: Ask, size: Any) -> None:
    image = picture(size)
    answer = ask(TASK, model, {"base64": to_base64(image), "params": {"top_k": 7}})
    assert by_label(answer) == pytest.approx(expected(model, image), abs=1e-5)
    assert [row["score"] for row in answer] == sorted((row["score"] for row in answer), reverse=True)


def test_scores_are_read_off_the_last_state_of_a_model_that_puts_them_there(load: Load, ask: Ask) -> None:
    model = load("pp_lcnet_classifier", "image-classification")
    library = library_model("AutoModelForImageClassification", model.path)
    with torch.inference_mode():
        states = library(**model.processor(picture(), return_tensors="pt")).last_hidden_state[0]
    scores = {library.config.id2label[index]: score for index, score in enumerate(states.softmax(-1).tolist())}
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": {"top_k": 7}})
    assert by_label(answer) == pytest.approx(scores, abs=1e-5)


def test_five_labels_unless_top_k_says_otherwise(model: Model, ask: Ask) -> None:
    body = {"base64": to_base64(picture())}
    everything = ask(TASK, model, {**body, "params": {"top_k": 50}})
    assert len(everything) == 7
    assert ask(TASK, model, body) == everything[:5]
    assert ask(TASK, model, {**body, "params": {"top_k": 1}}) == everything[:1]


@pytest.mark.parametrize(("function", "apply"), [("sigmoid", torch.sigmoid), ("none", lambda logits: logits)])
def test_function_to_apply(model: Model, ask: Ask, function: str, apply: Any) -> None:
    answer = ask(TASK, model, {"base64": to_base64(picture()), "params": {"function_to_apply": function, "top_k": 7}})
    assert by_label(answer) == pytest.approx(expected(model, picture(), apply), abs=1e-4)


def test_batch_of_many_shapes_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [{"base64": to_base64(picture(size, seed))} for seed, size in enumerate([*SIZES, *SIZES])]
    for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
        assert [row["label"] for row in one] == [row["label"] for row in alone]
        assert by_label(one) == pytest.approx(by_label(alone), abs=1e-5)


def test_exif_rotation_is_undone_before_the_model_sees_the_image(model: Model, ask: Ask) -> None:
    image = picture((41, 73))
    assert ask(TASK, model, {"base64": turned(image)}) == ask(TASK, model, {"base64": to_base64(image)})


def test_url_image_url_and_data_url_are_the_same_field(load: Load, ask: Ask) -> None:
    model = load("vit_classifier", "image-classification")
    data = to_base64(picture())
    answer = ask(TASK, model, {"base64": data})
    for field in ("url", "image_url", "input", "base64"):
        assert ask(TASK, model, {field: f"data:image/png;base64,{data}"}) == answer


def test_damaged_image_fails_alone_and_is_named(model: Model, ask: Ask) -> None:
    good = to_base64(picture())
    error, answer = ask(TASK, model, {"base64": good[: len(good) // 2]}, {"base64": good})
    assert error.data["field"] == "base64"
    assert len(answer) == 5


@pytest.mark.parametrize("size", [(1, 1), (3, 90), (90, 1), (2, 2)])
def test_tiny_and_thin_images_are_answered_or_refused_by_name(model: Model, ask: Ask, size: tuple[Any, ...]) -> None:
    answer = ask(TASK, model, {"base64": to_base64(picture((90, 90)).crop((0, 0, *size)))})
    assert answer.data["field"] == "base64" if isinstance(answer, InvalidRequest) else len(answer) == 5


@pytest.mark.parametrize(
    ("name", "value"), [("top_k", 0), ("top_k", "many"), ("function_to_apply", "relu"), ("nothing", 1)]
)
def test_wrong_params_are_named(name: str, value: int | str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(TASK, {"base64": "AAAA", "params": {name: value}})
    assert raised.value.data["field"] == f"params.{name}"
