"""Which classifiers rank documents, and which rankers are refused, from their files alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.folders import Folders
from modelyard.catalog.inspection import inspect_folder
from modelyard.records.models import Inspection
from tests.catalog.models import Files, model, text, write

ONE = {"id2label": {"0": "LABEL_0"}}
THREE = {"id2label": {"0": "bad", "1": "so-so", "2": "good"}}
CLASSIFIER = "BertForSequenceClassification"
CROSS_ENCODER = {"config_sentence_transformers__json": text({"model_type": "CrossEncoder"})}
TRANSFORMER = {"idx": 0, "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"}
POOLING = {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}
Inspect = Callable[..., Inspection]


@pytest.fixture
def inspect(tmp_path: Path) -> Inspect:
    """The model of these files in a folder of that name."""

    def inspected(files: Files, name: str = "model") -> Inspection:
        return inspect_folder(write(tmp_path / name, files))

    return inspected


def card(tag: str | None = None, *tags: str) -> str:
    lines = [f"pipeline_tag: {tag}"] if tag else []
    return "\n".join(["---", *lines, "tags:", *(f"- {each}" for each in tags), "---", ""])


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("bge-reranker-v2-m3", {}),
        ("mxbai-rerank-base-v1", {"readme": card("text-classification")}),
        ("ms-marco", {"config": {**ONE, "sentence_transformers": {"activation_fn": "torch.nn.Identity"}}}),
        ("ms-marco", {"config": {**ONE, "sbert_ce_default_activation_function": "torch.nn.Identity"}}),
        ("ms-marco", CROSS_ENCODER),
        ("ms-marco", {**CROSS_ENCODER, "modules__json": text([TRANSFORMER])}),
        ("ms-marco", {"readme": card(None, "sentence-transformers", "cross-encoder")}),
        ("ms-marco", {"readme": card("text-ranking")}),
    ],
)
def test_a_classifier_of_one_label_with_a_sign_of_it_ranks(inspect: Inspect, name: str, more: Any) -> None:
    found = inspect(model(CLASSIFIER, "bert", **{"config": ONE, **more}), name)
    assert (found.task, found.problem) == ("text-ranking", None)


@pytest.mark.parametrize("more", [{}, {"readme": card("text-classification")}, {"readme": card(None, "regression")}])
def test_a_classifier_of_one_label_without_one_stays_a_classifier(inspect: Inspect, more: Any) -> None:
    assert inspect(model(CLASSIFIER, "bert", config=ONE, **more)).task == "text-classification"


@pytest.mark.parametrize("more", [CROSS_ENCODER, {"readme": card("text-ranking")}, {"config": {}}])
def test_a_classifier_of_several_labels_does_not_rank(inspect: Inspect, more: Any) -> None:
    files = model(CLASSIFIER, "bert", **{"config": THREE, **more})
    assert inspect(files, "some-reranker").task == "text-classification"


def test_another_tag_of_the_author_wins(inspect: Inspect) -> None:
    files = model(CLASSIFIER, "bert", config=ONE, readme=card("zero-shot-classification"))
    assert inspect(files, "some-reranker").task == "zero-shot-classification"


def test_a_models_own_name_counts_and_not_its_owners(tmp_path: Path) -> None:
    files = model(CLASSIFIER, "bert", config=ONE)
    for model_id in ("acme/reranker", "rerank-lab/sentiment"):
        write(tmp_path / model_id, files)
    found = {each.model_id: each.inspection.task for each in Folders([tmp_path]).list()}
    assert found == {"acme/reranker": "text-ranking", "rerank-lab/sentiment": "text-classification"}


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (model("Qwen3ForCausalLM", "qwen3", readme=card("text-ranking")), "Qwen3ForCausalLM"),
        (model("T5ForConditionalGeneration", "t5", readme=card("text-ranking")), "T5ForConditionalGeneration"),
        (
            model(
                CLASSIFIER, "bert", config=ONE, **CROSS_ENCODER,
                modules__json=text([TRANSFORMER, POOLING]),
            ),
            "modules Pooling",
        ),
        (
            model(
                CLASSIFIER, "bert", config=ONE, **CROSS_ENCODER,
                sentence_bert_config__json=text({"modality_config": {"text": {}, "message": {"format": "flat"}}}),
            ),
            "chat template",
        ),
    ],
    ids=["decoder", "encoder-decoder", "modules", "chat template"],
)  # fmt: skip
def test_a_ranker_that_is_not_served_is_refused_with_the_way_out(inspect: Inspect, files: Files, words: str) -> None:
    found = inspect(files)
    assert found.task == "text-ranking"
    assert words in (found.problem or "")
    assert "take a cross-encoder" in (found.problem or "")


def test_a_sentence_encoder_in_its_folder_is_none(inspect: Inspect) -> None:
    files = model("BertModel", "bert", modules__json=text([TRANSFORMER]))
    assert inspect(files).task == "sentence-similarity"
