"""Models that read text and have no tokenizer, told by the names of their files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.catalog.inspection import inspect_folder
from modelyard.records.models import Inspection
from tests.catalog.models import Files, diffusers, model, write

Inspect = Callable[[Files], Inspection]


@pytest.fixture
def inspect(tmp_path: Path) -> Inspect:
    return lambda files: inspect_folder(write(tmp_path / "model", files))


def bare(architecture: str, kind: str) -> Files:
    """A model without a tokenizer."""
    return {name: content for name, content in model(architecture, kind).items() if "token" not in name}


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [("GPT2LMHeadModel", "gpt2"), ("BertForSequenceClassification", "bert"), ("T5ForConditionalGeneration", "t5"),
     ("BertModel", "bert")],
)  # fmt: skip
def test_a_model_that_reads_text_without_a_tokenizer_is_refused(inspect: Inspect, architecture: str, kind: str) -> None:
    problem = inspect(bare(architecture, kind)).problem or ""
    assert problem.startswith("has no tokenizer")
    assert "copy it" in problem


@pytest.mark.parametrize(
    "name",
    ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "source.spm",
     "tekken.json", "qwen.tiktoken", "vocab-src.json", "bpe.codes", "prophetnet.tokenizer", "dict.txt"],
)  # fmt: skip
def test_every_kind_of_vocabulary_counts(inspect: Inspect, name: str) -> None:
    assert inspect({**bare("BertModel", "bert"), name: b"{}"}).problem is None


def test_models_that_get_no_text_alone_need_none(inspect: Inspect) -> None:
    assert inspect(bare("ViTForImageClassification", "vit")).problem is None
    assert inspect({name: each for name, each in diffusers().items() if "vocab" not in name}).problem is None
