"""`/v1/moderations`, by OpenAI's own client, of a model that classifies texts."""

from __future__ import annotations

from typing import Any

import pytest

from tests.later import Later
from tests.serving import Server

openai = Later("openai")

MODEL = "tiny/classifier"
TEXTS = ["hello there", "something else", "the cat"]


def scores_of(server: Server, text: str) -> dict[str, float]:
    """What v2 says of it."""
    return {each["label"]: each["score"] for each in server.run(MODEL, text=text)}


def test_categories_are_the_models_labels_with_its_scores(server: Server, client: openai.OpenAI) -> None:
    for given in (TEXTS[0], TEXTS):
        answer: Any = client.moderations.create(model=MODEL, input=given)
        texts = [given] if isinstance(given, str) else given
        assert (answer.model, answer.id[:5]) == (MODEL, "modr-")
        assert len(answer.results) == len(texts)
        for text, result in zip(texts, answer.results, strict=True):
            told = result.to_dict()
            assert told["category_scores"] == pytest.approx(scores_of(server, text), abs=1e-5)
            assert told["categories"] == {label: score >= 0.5 for label, score in told["category_scores"].items()}
            assert result.flagged == any(told["categories"].values())


def test_a_threshold_and_harmless_labels_decide_about_the_flag(server: Server, client: openai.OpenAI) -> None:
    scores = scores_of(server, TEXTS[0])
    best = max(scores, key=scores.__getitem__)

    def flagged(**more: Any) -> bool:
        return client.moderations.create(model=MODEL, input=TEXTS[0], extra_body=more).results[0].flagged

    assert flagged(threshold=scores[best] - 0.001)
    assert not flagged(threshold=min(0.999, scores[best] + 0.001))
    assert not flagged(threshold=scores[best] - 0.001, harmless=[best.upper()])
    assert flagged(threshold=0.001, harmless=[best])


def test_parts_are_answered_as_one(server: Server, client: openai.OpenAI) -> None:
    parts: Any = [{"type": "text", "text": text} for text in TEXTS]
    (result,) = client.moderations.create(model=MODEL, input=parts).results
    each = [scores_of(server, text) for text in TEXTS]
    highest = {label: max(scores[label] for scores in each) for label in each[0]}
    assert result.to_dict()["category_scores"] == pytest.approx(highest, abs=1e-5)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"type": "image_url", "image_url": {"url": "http://a.test/b"}}]}, "input"),
        ({"threshold": 1}, "threshold"),
        ({"top_k": 1}, "top_k"),
        ({"model": "tiny/chat"}, "model"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(client: openai.OpenAI, wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.moderations.create(**{"model": MODEL, "input": "hello", "extra_body": wrong})
    assert str(refused.value.param).startswith(param)
