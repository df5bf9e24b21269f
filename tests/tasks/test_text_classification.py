"""Scores over the labels of a classifier."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.tasks.comparison import TEXTS, assert_batch_and_list_answer_as_one_by_one, library_logits

CLASSIFY = get_task("text-classification")


@pytest.fixture
def classifier(load: Load) -> Model:
    return load("bert_classifier", "sequence-classification")


def by_label(answer: Any) -> Any:
    return {row["label"]: row["score"] for row in answer}


@pytest.mark.parametrize("text", [*TEXTS, TEXTS[2] * 20])
def test_all_labels_with_the_librarys_probabilities_best_first(classifier: Model, ask: Ask, text: Any) -> None:
    answer = ask(CLASSIFY, classifier, {"text": text})
    expected = library_logits(classifier, "AutoModelForSequenceClassification", text).softmax(-1)
    names = ["negative", "neutral", "positive"]
    assert by_label(answer) == pytest.approx(dict(zip(names, expected.tolist(), strict=True)), abs=1e-5)
    assert [row["score"] for row in answer] == sorted((row["score"] for row in answer), reverse=True)


@pytest.mark.parametrize(
    ("function", "apply"),
    [("sigmoid", torch.sigmoid), ("none", lambda logits: logits), ("softmax", lambda x: x.softmax(-1))],
)
def test_function_to_apply(classifier: Model, ask: Ask, function: str, apply: Any) -> None:
    answer = ask(CLASSIFY, classifier, {"text": TEXTS[0], "params": {"function_to_apply": function, "top_k": 3}})
    expected = apply(library_logits(classifier, "AutoModelForSequenceClassification", TEXTS[0]))
    assert sorted(by_label(answer).values()) == pytest.approx(sorted(expected.tolist()), abs=1e-5)


def test_top_k_keeps_the_best(classifier: Model, ask: Ask) -> None:
    assert (
        ask(CLASSIFY, classifier, {"text": "no", "params": {"top_k": 1}})
        == ask(CLASSIFY, classifier, {"text": "no"})[:1]
    )


def test_batch_and_list_answer_as_one_by_one(classifier: Model, ask: Ask) -> None:
    assert_batch_and_list_answer_as_one_by_one(ask, CLASSIFY, classifier, [{"text": text} for text in TEXTS])
