"""text-classification, zero-shot-classification and fill-mask: scores over labels and tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelyard.errors import InvalidRequest
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.builders.reference import library_model

TEXTS = ["I love this film!", "no", "A long journey home, and a wonderful story about friendship."]
CLASSIFY, ZERO_SHOT, FILL = map(get_task, ("text-classification", "zero-shot-classification", "fill-mask"))
LABELS = ["sports", "politics", "cooking"]


@pytest.fixture
def classifier(load: Load) -> Model:
    return load("bert_classifier", "sequence-classification")


@pytest.fixture
def judge(load: Load) -> Model:
    return load("bert_nli", "sequence-classification")


@pytest.fixture
def filler(load: Load) -> Model:
    return load("bert_masked_lm", "masked-lm")


def library_logits(model: Model, auto: Any, *texts: Any) -> Any:
    library = library_model(auto, model.path)
    with torch.inference_mode():
        return library(**model.tokenizer(*texts, return_tensors="pt", truncation=True, max_length=64)).logits[0]


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


def assert_close(one: Any, other: Any) -> None:
    if isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_close(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_close(left, right)
    else:
        assert one == other


def test_batch_and_list_answer_as_one_by_one(classifier: Model, judge: Model, filler: Model, ask: Ask) -> None:
    masked = ["[MASK] there was a fox.", "[MASK]", "The [MASK] of France is [MASK], and so on and so forth."]
    for task, model, bodies in (
        (CLASSIFY, classifier, [{"text": text} for text in TEXTS]),
        (ZERO_SHOT, judge, [{"text": text, "candidate_labels": LABELS} for text in TEXTS]),
        (FILL, filler, [{"text": text} for text in masked]),
    ):
        alone = [ask(task, model, body) for body in bodies]
        assert_close(ask(task, model, *bodies), alone)
        assert_close(ask(task, model, {**bodies[0], "text": [body["text"] for body in bodies]}), alone)


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


def test_masks_are_filled_with_the_librarys_probabilities(filler: Model, ask: Ask) -> None:
    text = "The capital of [MASK] is Paris."
    logits = library_logits(filler, "AutoModelForMaskedLM", text)
    ids = filler.tokenizer(text)["input_ids"]
    place = ids.index(filler.tokenizer.mask_token_id)
    scores, tokens = logits[place].softmax(-1).topk(7)
    answer = ask(FILL, filler, {"text": text, "params": {"top_k": 7}})
    assert [row["token"] for row in answer] == tokens.tolist()
    assert [row["score"] for row in answer] == pytest.approx(scores.tolist(), abs=1e-5)
    for row in answer:
        filled = [*ids[:place], row["token"], *ids[place + 1 :]]
        assert row["token_str"] == filler.tokenizer.decode([row["token"]])
        assert row["sequence"] == filler.tokenizer.decode(filled, skip_special_tokens=True)


def test_several_masks_are_several_lists(filler: Model, ask: Ask) -> None:
    answer = ask(FILL, filler, {"text": "[MASK] is the [MASK].", "params": {"top_k": 2}})
    assert [len(rows) for rows in answer] == [2, 2]
    assert "[MASK]" in answer[0][0]["sequence"]


def test_targets_are_scored_alone(filler: Model, ask: Ask) -> None:
    answer = ask(FILL, filler, {"text": "[MASK] is here.", "params": {"targets": ["the", "paris"]}})
    everything = ask(FILL, filler, {"text": "[MASK] is here.", "params": {"top_k": 400}})
    scores = {row["token_str"]: row["score"] for row in everything}
    assert {row["token_str"]: row["score"] for row in answer} == {name: scores[name] for name in ("the", "paris")}
    error = ask(FILL, filler, {"text": "[MASK]", "params": {"targets": ["the", "extraordinarily"]}})
    assert error.data["field"] == "params.targets[1]"


@pytest.mark.parametrize("text", ["no mask here", "word " * 100 + "[MASK]"])
def test_text_without_a_mask_in_reach_fails_alone_and_names_the_mask(filler: Model, ask: Ask, text: Any) -> None:
    error, answer = ask(FILL, filler, {"text": text}, {"text": "[MASK]"})
    assert error.data["field"] == "text"
    assert "[MASK]" in error.message or "64" in error.message
    assert len(answer) == 5
