"""Configs that name no class: what the model is follows from its type and from the heads that its weights have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from modelyard.catalog.inspection import inspect_folder
from modelyard.catalog.library import classes_of
from modelyard.catalog.unnamed import HEADS, TIED, find_class
from modelyard.records.models import Inspection
from tests.catalog.models import Files, model, text, write

WORDS = {"vocab_size": 400}


def inspect(tmp_path: Path, model_type: str, *tensors: str, **config: Any) -> Inspection:
    files: Files = {
        **model(),
        "config.json": text({"model_type": model_type, **config}),
        "model.safetensors": save({name: np.ones(4, "float32") for name in tensors}),
    }
    return inspect_folder(write(tmp_path / "model", files))


@pytest.mark.parametrize(
    ("model_type", "tensor", "config", "task", "architecture"),
    [
        ("deberta-v2", "deberta.embeddings.weight", WORDS, "feature-extraction", "DebertaV2Model"),
        ("bert", "cls.predictions.bias", WORDS, "fill-mask", "BertForMaskedLM"),
        ("roberta", "lm_head.bias", WORDS, "fill-mask", "RobertaForMaskedLM"),
        ("distilbert", "qa_outputs.weight", WORDS, "question-answering", "DistilBertForQuestionAnswering"),
        ("bert", "classifier.weight", WORDS, "feature-extraction", "BertModel"),
        ("gpt2", "wte.weight", WORDS, "text-generation", "GPT2LMHeadModel"),
        ("t5", "shared.weight", WORDS, "text2text-generation", "T5ForConditionalGeneration"),
        ("whisper", "model.encoder.weight", WORDS, "automatic-speech-recognition", "WhisperForConditionalGeneration"),
        ("wav2vec2", "lm_head.weight", WORDS, "automatic-speech-recognition", "Wav2Vec2ForCTC"),
        ("llava", "language_model.weight", {"text_config": {}, "vision_config": {}}, "image-text-to-text",
         "LlavaForConditionalGeneration"),
        ("vit", "embeddings.weight", {"image_size": 32}, "image-feature-extraction", "ViTModel"),
    ],
)  # fmt: skip
def test_type_and_heads_say_what_a_model_is(
    tmp_path: Path, model_type: str, tensor: str, config: Any, task: str, architecture: str
) -> None:
    found = inspect(tmp_path, model_type, tensor, **config)
    assert (found.task, found.architecture, found.problem) == (task, architecture, None)


def test_weights_that_cannot_be_looked_into_leave_the_type(tmp_path: Path) -> None:
    files = {**model(), "config.json": text({"model_type": "deberta-v2", **WORDS}), "pytorch_model.bin": b"pickle"}
    del files["model.safetensors"]
    found = inspect_folder(write(tmp_path / "model", files))
    assert (found.task, found.architecture) == ("feature-extraction", "DebertaV2Model")


def test_a_type_that_nobody_knows_has_no_class() -> None:
    assert find_class({"model_type": "nonesuch"}, ()) is None
    assert find_class({}, ()) is None


@pytest.mark.imports_models
def test_the_librarys_tables_are_read_as_it_has_them() -> None:
    from transformers.models.auto import modeling_auto

    for table in {"", *TIED, *(name for _, tables in HEADS for name in tables)}:
        own = getattr(modeling_auto, f"MODEL_FOR_{table}_MAPPING_NAMES" if table else "MODEL_MAPPING_NAMES")
        assert classes_of(table) == {kind: name if isinstance(name, str) else name[0] for kind, name in own.items()}
