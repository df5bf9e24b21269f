"""Scores over labels that the request brings."""

from __future__ import annotations

import pytest
import torch

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.tasks.comparison import TEXTS, assert_batch_and_list_answer_as_one_by_one, library_logits

ZERO_SHOT = get_task("zero-shot-classification")
LABELS = ["sports", "politics", "cooking"]


@pytest.fixture
def classifier(load: Load) -> Model:
    return load("bert_classifier", "sequence-classification")


@pytest.fixture
def judge(load: Load) -> Model:
    return load("bert_nli", "sequence-classification")


def test_batch_and_list_answer_as_one_by_one(judge: Model, ask: Ask) -> None:
    bodies = [{"text": text, "candidate_labels": LABELS} for text in TEXTS]
    assert_batch_and_list_answer_as_one_by_one(ask, ZERO_SHOT, judge, bodies)


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot_scores_come_from_entailment(judge: Model, ask: Ask, multi_label: bool) -> None:
    template = "It is about {}."
    body = {"text": TEXTS[0], "candidate_labels": LABELS}
    answer = ask(ZERO_SHOT, judge, {**body, "params": {"multi_label": multi_label, "hypothesis_template": template}})
    logits = torch.stack(
        [
            library_logits(judge, "AutoModelForSequenceClassification", TEXTS[0], template.format(label))
            for label in LABELS
        ]
    )
    expected = logits[:, [0, 2]].softmax(-1)[:, 1] if multi_label else logits[:, 2].softmax(0)
    assert dict(zip(answer["labels"], answer["scores"], strict=True)) == pytest.approx(
        dict(zip(LABELS, expected.tolist(), strict=True)), abs=1e-5
    )
    assert answer["sequence"] == TEXTS[0]
    assert answer["scores"] == sorted(answer["scores"], reverse=True)


def test_zero_shot_labels_may_be_one_string(judge: Model, ask: Ask) -> None:
    body = {"text": TEXTS[0], "candidate_labels": LABELS}
    assert ask(ZERO_SHOT, judge, {**body, "candidate_labels": "sports, politics,cooking"}) == ask(
        ZERO_SHOT, judge, body
    )


def test_zero_shot_cuts_the_text_not_the_labels(judge: Model, ask: Ask) -> None:
    long = ask(ZERO_SHOT, judge, {"text": TEXTS[2] * 20, "candidate_labels": LABELS})
    assert len(set(long["scores"])) == 3
    error = ask(ZERO_SHOT, judge, {"text": "a", "candidate_labels": ["word " * 100]})
    assert error.data["field"] == "candidate_labels"


def test_zero_shot_needs_a_model_that_judges_inference(classifier: Model, ask: Ask) -> None:
    error = ask(ZERO_SHOT, classifier, {"text": "a", "candidate_labels": LABELS})
    assert "entailment" in error.message


def test_zero_shot_template_needs_a_place_for_the_label() -> None:
    with pytest.raises(InvalidRequest, match=r"params\.hypothesis_template"):
        ZERO_SHOT.params(hypothesis_template="no place")
