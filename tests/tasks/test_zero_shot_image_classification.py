"""zero-shot-image-classification: the pipeline's scores for labels that the request brings along."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.pictures import SIZES, picture, to_base64, turned

TASK = get_task("zero-shot-image-classification")
LABELS = ["a fox", "the old river", "sunny weather"]


@pytest.fixture(params=["clip", "siglip"])
def model(request: pytest.FixtureRequest, load: Load) -> Model:
    return load(request.param, "zero-shot-image-classification")


def by_label(answer: Any) -> Any:
    return {row["label"]: row["score"] for row in answer}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("template", ["This is a photo of {}.", "{}"])
def test_the_pipelines_scores_best_first(model: Model, ask: Ask, size: Any, template: str) -> None:
    image = picture(size)
    library = transformers.pipeline("zero-shot-image-classification", model=str(model.path))
    expected = library(image, candidate_labels=LABELS, hypothesis_template=template)
    body = {"base64": to_base64(image), "candidate_labels": LABELS}
    answer = ask(TASK, model, {**body, "params": {"hypothesis_template": template}})
    assert by_label(answer) == pytest.approx(by_label(expected), abs=1e-5)
    assert [row["score"] for row in answer] == sorted((row["score"] for row in answer), reverse=True)
    if template != "{}":
        assert answer == ask(TASK, model, body)


def test_clip_shares_out_one_whole_and_siglip_does_not(load: Load, ask: Ask) -> None:
    body = {"base64": to_base64(picture()), "candidate_labels": LABELS}
    shared, apart = (
        sum(by_label(ask(TASK, load(family, "zero-shot-image-classification"), body)).values())
        for family in ("clip", "siglip")
    )
    assert shared == pytest.approx(1, abs=1e-5)
    assert apart != pytest.approx(1, abs=1e-3)


def test_batch_of_many_shapes_and_labels_answers_as_one_by_one(model: Model, ask: Ask) -> None:
    bodies = [
        {"base64": to_base64(picture(size, seed)), "candidate_labels": LABELS[: 1 + seed % 3]}
        for seed, size in enumerate([*SIZES, *SIZES, *SIZES])
    ]
    for one, alone in zip(ask(TASK, model, *bodies), [ask(TASK, model, body) for body in bodies], strict=True):
        assert by_label(one) == pytest.approx(by_label(alone), abs=1e-5)


def test_labels_may_be_one_string(model: Model, ask: Ask) -> None:
    body = {"base64": turned(picture((41, 73)))}
    assert ask(TASK, model, {**body, "candidate_labels": "a fox, the old river,sunny weather"}) == ask(
        TASK, model, {**body, "candidate_labels": LABELS}
    )


def test_label_too_long_for_the_model_fails_alone_and_is_named(model: Model, ask: Ask) -> None:
    body = {"base64": to_base64(picture())}
    long, empty, good = ask(
        TASK,
        model,
        {**body, "candidate_labels": ["word " * 200]},
        {**body, "candidate_labels": " , "},
        {**body, "candidate_labels": LABELS},
    )
    assert long.data["field"] == empty.data["field"] == "candidate_labels"
    assert str(model.max_length) in long.message
    assert len(good) == 3


@pytest.mark.parametrize("labels", [[], [""], 5, ["a"] * 257])
def test_wrong_labels_are_named(labels: Any) -> None:
    with pytest.raises(InvalidRequest, match="candidate_labels"):
        read(TASK, {"base64": "AAAA", "candidate_labels": labels})


def test_template_needs_a_place_for_the_label() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.hypothesis_template"):
        read(TASK, {"base64": "AAAA", "candidate_labels": LABELS, "params": {"hypothesis_template": "a photo"}})
