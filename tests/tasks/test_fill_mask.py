"""Scores over the words that may stand in the place of a mask."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.tasks.comparison import assert_batch_and_list_answer_as_one_by_one, library_logits

FILL = get_task("fill-mask")


@pytest.fixture
def filler(load: Load) -> Model:
    return load("bert_masked_lm", "masked-lm")


def test_batch_and_list_answer_as_one_by_one(filler: Model, ask: Ask) -> None:
    masked = ["[MASK] there was a fox.", "[MASK]", "The [MASK] of France is [MASK], and so on and so forth."]
    assert_batch_and_list_answer_as_one_by_one(ask, FILL, filler, [{"text": text} for text in masked])


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
