"""Tokenizers of folders that lack what they are made of: the library makes some of nothing, which read no words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import transformers

from modelyard.errors import ModelRefused
from modelyard.worker.runtimes.base import load_model
from modelyard.worker.runtimes.processors import refuse_without_words

FAMILIES = {
    "gpt2": "causal-lm",
    "llama_chat": "causal-lm",
    "t5": "seq2seq-lm",
    "bart": "seq2seq-lm",
    "bert_classifier": "sequence-classification",
    "bert_ranker": "sequence-classification",
    "sentence_transformer": "base",
}


@pytest.mark.parametrize(("family", "head"), FAMILIES.items())
@pytest.mark.parametrize("kept", [(), ("tokenizer_config.json",)], ids=["no file", "no vocabulary"])
def test_a_model_without_its_vocabulary_is_refused(
    model_folder: Callable[[str], Path], tmp_path: Path, family: str, head: str, kept: tuple[str, ...]
) -> None:
    folder = tmp_path / family
    shutil.copytree(model_folder(family), folder)
    for file in folder.glob("*"):
        if ("token" in file.name or file.suffix == ".model") and file.name not in kept:
            file.unlink()
    with pytest.raises(ModelRefused, match=r"(?s)tokenizer"):
        load_model("transformers", folder, (head,), device="cpu")  # type: ignore[arg-type]


def test_tokenizers_of_bytes_need_no_vocabulary(tmp_path: Path) -> None:
    for kind in (transformers.ByT5Tokenizer, transformers.CanineTokenizer, transformers.PerceiverTokenizer):
        refuse_without_words(kind(), tmp_path)
