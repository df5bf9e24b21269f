from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.entities import Piece, aggregate
from tests.builders.fixtures import Ask, Load
from tests.builders.reference import library_model

TASK = get_task("token-classification")
TEXTS = [
    "Angela lives in Paris and works for the United Nations.",
    "no",
    "Her brother moved to New York, far from home!",
]


@pytest.fixture
def marker(load: Load) -> Model:
    return load("bert_token_classifier", "token-classification")


def pipeline(model: Model, text: str, **options: Any) -> Any:
    """The library's own pipeline, which still exists for this task."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    run = transformers.pipeline("token-classification", model=str(model.path), device="cpu", **options)
    return [
        {name: value.item() if hasattr(value, "item") else value for name, value in row.items()} for row in run(text)
    ]


def assert_same(ours: Any, theirs: Any) -> None:
    assert len(ours) == len(theirs)
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.pop("score") == pytest.approx(its.pop("score"), abs=1e-5)
        assert mine == its


@pytest.mark.parametrize("strategy", ["none", "simple", "first", "average", "max"])
def test_answers_are_the_pipelines(marker: Model, ask: Ask, strategy: str) -> None:
    for text in TEXTS:
        ours = ask(TASK, marker, {"text": text, "params": {"aggregation_strategy": strategy}})
        assert_same(ours, pipeline(marker, text, aggregation_strategy=strategy))


def test_ignored_labels_are_left_out(marker: Model, ask: Ask) -> None:
    for text in TEXTS:
        everything = ask(TASK, marker, {"text": text, "params": {"ignore_labels": []}})
        assert len(everything) == len(marker.tokenizer(text, add_special_tokens=False)["input_ids"])
        kept = ask(TASK, marker, {"text": text, "params": {"ignore_labels": ["B-LOC", "O"]}})
        assert kept == [row for row in everything if row["entity"] not in ("B-LOC", "O")]


def test_batch_and_list_answer_as_one_by_one(marker: Model, ask: Ask) -> None:
    alone = [ask(TASK, marker, {"text": text}) for text in TEXTS]
    for batch in (ask(TASK, marker, *({"text": text} for text in TEXTS)), ask(TASK, marker, {"text": TEXTS})):
        for ours, theirs in zip(batch, alone, strict=True):
            assert_same(ours, [dict(row) for row in theirs])


def test_every_token_of_a_long_text_is_marked_once_where_it_stands(marker: Model, ask: Ask) -> None:
    text = " ".join(TEXTS * 8)
    encoded = marker.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False, verbose=False)
    rows = ask(TASK, marker, {"text": text, "params": {"ignore_labels": []}})
    assert [(row["start"], row["end"]) for row in rows] == encoded["offset_mapping"]
    assert [row["index"] for row in rows] == list(range(1, len(rows) + 1))


def test_tokens_of_a_long_text_have_the_scores_of_their_window(marker: Model, ask: Ask) -> None:
    """62 tokens fit beside the special ones; neighbours share 15 by default, split in the middle."""
    text = " ".join(TEXTS * 8)
    ids = marker.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    rows = ask(TASK, marker, {"text": text, "params": {"ignore_labels": []}})
    library = library_model("AutoModelForTokenClassification", marker.path)
    for start, low, high in ((0, 0, 47 + 7), (47, 47 + 7, 94 + 7)):
        window = torch.tensor([[2, *ids[start : start + 62], 3]])
        with torch.inference_mode():
            scores = library(window).logits[0].softmax(-1).max(-1).values[1:-1]
        ours = [row["score"] for row in rows[low:high]]
        assert ours == pytest.approx(scores[low - start : high - start].tolist(), abs=1e-5)


def test_stride_that_leaves_no_room_is_named(marker: Model, ask: Ask) -> None:
    assert ask(TASK, marker, {"text": "a", "params": {"stride": 62}}).data["field"] == "params.stride"


LABELS = {0: "O", 1: "B-LOC", 2: "I-LOC", 3: "B-PER"}


def piece(word: Any, start: Any, best: Any, score: Any, *, inside: Any = False) -> Any:
    scores = np.full(4, (1 - score) / 3)
    scores[best] = score
    return Piece(word, start + 1, start, start + len(word), scores, inside)


class Joined:
    @staticmethod
    def convert_tokens_to_string(tokens: Any) -> Any:
        return " ".join(tokens)


@pytest.mark.parametrize(
    ("pieces", "groups"),
    [
        ([(1, 0.9, False), (2, 0.7, False)], [("LOC", 0.8)]),
        ([(1, 0.9, False), (1, 0.7, False)], [("LOC", 0.9), ("LOC", 0.7)]),
        ([(1, 0.9, False), (3, 0.7, False)], [("LOC", 0.9), ("PER", 0.7)]),
        ([(2, 0.9, False), (0, 0.7, False), (2, 0.5, False)], [("LOC", 0.9), ("LOC", 0.5)]),
    ],
)
def test_neighbours_of_one_label_are_one_entity_until_a_new_one_begins(
    pieces: list[tuple[Any, ...]], groups: list[tuple[Any, ...]]
) -> None:
    made = [piece("w", place * 2, best, score, inside=inside) for place, (best, score, inside) in enumerate(pieces)]
    found = aggregate(made, LABELS, "simple", ["O"], Joined)
    assert [(entity.entity_group, pytest.approx(entity.score)) for entity in found] == groups


@pytest.mark.parametrize(("strategy", "label"), [("first", "LOC"), ("max", "PER"), ("average", "PER")])
def test_words_take_the_label_their_strategy_says(strategy: str, label: str) -> None:
    made = [piece("New", 0, 1, 0.5), piece("##y", 3, 3, 0.9, inside=True)]
    (found,) = aggregate(made, LABELS, strategy, ["O"], Joined)
    assert (found.entity_group, found.start, found.end) == (label, 0, 6)
