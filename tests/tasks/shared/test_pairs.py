"""Two texts that a model reads together, in every form in which a request may give them."""

from __future__ import annotations

from typing import Any

import pytest
import transformers

from modelyard.errors import InvalidRequest
from modelyard.tasks.body import read
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from tests.builders.fixtures import Ask, Load
from tests.tasks.comparison import assert_close, library_logits

CLASSIFY = get_task("text-classification")
ONE = ("Angela lives in Paris.", "Somebody lives in France.")
OTHER = ("I love this film!", "It was a long journey home, and a wonderful story about friendship.")


@pytest.fixture
def judge(load: Load) -> Model:
    return load("bert_nli", "sequence-classification")


def pair(texts: tuple[str, str]) -> dict[str, str]:
    return {"text": texts[0], "text_pair": texts[1]}


@pytest.fixture
def library(judge: Model) -> Any:
    """The library's own pipeline."""
    return transformers.pipeline("text-classification", model=str(judge.path), device="cpu")


def test_a_pair_is_labelled_as_by_the_librarys_pipeline(judge: Model, library: Any, ask: Ask) -> None:
    for texts in (ONE, OTHER, (ONE[0], ""), ("", ONE[0])):
        assert_close(ask(CLASSIFY, judge, pair(texts)), library(pair(texts), top_k=None))


def test_the_second_text_counts(judge: Model, ask: Ask) -> None:
    assert ask(CLASSIFY, judge, pair(ONE)) != ask(CLASSIFY, judge, {"text": ONE[0]})
    assert ask(CLASSIFY, judge, pair(ONE)) != ask(CLASSIFY, judge, pair(ONE[::-1]))


@pytest.mark.parametrize(
    "body",
    [
        {"text": [ONE[0], OTHER[0]], "text_pair": [ONE[1], OTHER[1]]},
        {"text": [pair(ONE), pair(OTHER)]},
        {"text": [list(ONE), list(OTHER)]},
        {"input": [pair(ONE), list(OTHER)]},
        {"input": {"text": [ONE[0], OTHER[0]], "text_pair": [ONE[1], OTHER[1]]}},
    ],
    ids=["two lists", "objects", "lists", "input", "fields of input"],
)
def test_every_form_of_a_list_means_the_same(judge: Model, ask: Ask, body: Any) -> None:
    assert_close(ask(CLASSIFY, judge, body), [ask(CLASSIFY, judge, pair(ONE)), ask(CLASSIFY, judge, pair(OTHER))])


@pytest.mark.parametrize("body", [{"text": pair(ONE)}, {"input": pair(ONE)}], ids=["text", "input"])
def test_every_form_of_one_pair_means_the_same(judge: Model, ask: Ask, body: Any) -> None:
    assert ask(CLASSIFY, judge, body) == ask(CLASSIFY, judge, pair(ONE))


def test_pairs_and_texts_share_lists_and_batches(judge: Model, ask: Ask) -> None:
    alone = [ask(CLASSIFY, judge, body) for body in (pair(ONE), {"text": OTHER[0]}, pair(OTHER))]
    assert_close(ask(CLASSIFY, judge, {"text": [pair(ONE), OTHER[0], pair(OTHER)]}), alone)
    assert_close(ask(CLASSIFY, judge, pair(ONE), {"text": OTHER[0]}, pair(OTHER)), alone)


@pytest.mark.parametrize("texts", [(ONE[0] * 20, ONE[1]), (ONE[0], ONE[1] * 20), (ONE[0] * 20, ONE[1] * 20)])
def test_of_a_long_pair_the_longer_text_is_cut(judge: Model, ask: Ask, texts: tuple[str, str]) -> None:
    answer = {row["label"]: row["score"] for row in ask(CLASSIFY, judge, pair(texts))}
    expected = library_logits(judge, "AutoModelForSequenceClassification", *texts).softmax(-1).tolist()
    assert answer == pytest.approx(dict(zip(judge.labels.values(), expected, strict=True)), abs=1e-5)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"text": ["a", "b"], "text_pair": ["c"]}, "text_pair: .*a list of 2 texts"),
        ({"text": ["a", "b"], "text_pair": "c"}, "text_pair: .*a list of 2 texts"),
        ({"text": "a", "text_pair": ["c"]}, "text_pair: .*one text"),
        ({"text": [["a", "b"]], "text_pair": ["c"]}, "text_pair: .*nothing where text holds pairs"),
        ({"text": {"text": "a", "text_pair": "b"}, "text_pair": "c"}, "text_pair: .*nothing where text holds pairs"),
        ({"text": [["a", "b", "c"]]}, "text"),
        ({"text": [{"text": "a"}]}, r"text_pair: missing"),
        ({"text": [{"text": "a", "text_pair": "b", "more": "c"}]}, "more"),
        ({"text_pair": "a"}, "text: missing"),
    ],
)
def test_a_pair_that_is_none_is_told_what_is_wrong(body: Any, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        read(CLASSIFY, body)
