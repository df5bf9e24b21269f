"""feature-extraction and sentence-similarity: one vector per text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.errors import InvalidRequest, ModelRefused
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.sentence_folder import read_head, read_safetensors
from tests.builders.fixtures import Ask, Load
from tests.builders.reference import library_model

TASK = get_task("feature-extraction")
SIMILARITY = get_task("sentence-similarity")
TEXTS = ["The weather is lovely today.", "no", "Once upon a time there was a small fox who lived in the old forest."]


@pytest.fixture
def encoder(load: Load) -> Model:
    return load("bert_encoder", "base")


@pytest.fixture
def sentences(load: Load) -> Model:
    return load("sentence_transformer", "base")


def states_of(model: Model, text: str, limit: Any = 64) -> Any:
    library = library_model("AutoModel", model.path)
    with torch.inference_mode():
        return library(
            **model.tokenizer(text, return_tensors="pt", truncation=True, max_length=limit)
        ).last_hidden_state[0]


POOLINGS = {
    "mean": lambda states: states.mean(0),
    "cls": lambda states: states[0],
    "max": lambda states: states.max(0).values,
    "lasttoken": lambda states: states[-1],
    "weightedmean": lambda states: (
        (states * (weights := torch.arange(1.0, len(states) + 1))[:, None]).sum(0) / weights.sum()
    ),
    "mean_sqrt_len_tokens": lambda states: states.sum(0) / len(states) ** 0.5,
}


@pytest.mark.parametrize("pooling", [None, *POOLINGS])
def test_vector_is_the_librarys_states_pooled(encoder: Model, ask: Ask, pooling: Any) -> None:
    for text in (*TEXTS, TEXTS[2] * 10):
        vector = ask(TASK, encoder, {"text": text, "params": {} if pooling is None else {"pooling": pooling}})
        assert vector == pytest.approx(POOLINGS[pooling or "mean"](states_of(encoder, text)).tolist(), abs=1e-4)


def test_normalized_vector_has_length_one(encoder: Model, ask: Ask) -> None:
    plain = ask(TASK, encoder, {"text": TEXTS[0]})
    vector = ask(TASK, encoder, {"text": TEXTS[0], "params": {"normalize": True}})
    assert np.linalg.norm(vector) == pytest.approx(1)
    assert vector == pytest.approx((np.array(plain) / np.linalg.norm(plain)).tolist(), abs=1e-6)


def test_one_text_is_a_flat_vector_and_a_list_a_list_as_one_by_one(encoder: Model, sentences: Model, ask: Ask) -> None:
    for task, model in ((TASK, encoder), (SIMILARITY, sentences)):
        alone = [ask(task, model, {"text": text}) for text in TEXTS]
        together = ask(task, model, {"text": TEXTS})
        assert np.shape(together) == (3, len(alone[0]))
        assert np.allclose(together, alone, atol=1e-5)
        assert np.allclose(ask(task, model, *({"text": text} for text in TEXTS)), alone, atol=1e-5)


@pytest.mark.parametrize("text", [*TEXTS, TEXTS[2] * 10])
def test_sentence_transformers_folder_is_honoured(sentences: Model, ask: Ask, text: Any) -> None:
    """[CLS] pooling, a dense layer with tanh, normalised, 32 tokens at most: as its files say."""
    from safetensors.torch import load_file

    layer = load_file(sentences.path / "2_Dense" / "model.safetensors")
    pooled = states_of(sentences, text, limit=32)[0]
    expected = torch.nn.functional.normalize(torch.tanh(layer["linear.weight"] @ pooled + layer["linear.bias"]), dim=0)
    assert ask(SIMILARITY, sentences, {"text": text}) == pytest.approx(expected.tolist(), abs=1e-4)


def test_too_long_text_is_refused_when_it_must_not_be_cut(sentences: Model, ask: Ask) -> None:
    error, fine = ask(
        SIMILARITY, sentences, *({"text": text, "params": {"truncate": False}} for text in (TEXTS[2] * 10, "no"))
    )
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == "text"
    assert "32" in error.message
    assert len(fine) == 16


def test_similarities_are_cosines(sentences: Model, ask: Ask) -> None:
    vectors = np.array(ask(SIMILARITY, sentences, {"text": TEXTS, "params": {"normalize": False}}))
    lengths = np.linalg.norm(vectors, axis=1)
    expected = vectors[1:] @ vectors[0] / (lengths[1:] * lengths[0])
    answer = ask(SIMILARITY, sentences, {"text": TEXTS[0], "sentences": TEXTS[1:]}, {"text": TEXTS[0]})
    assert answer[0] == pytest.approx(expected.tolist(), abs=1e-5)
    assert len(answer[1]) == 16


def test_several_texts_cannot_be_compared_at_once() -> None:
    with pytest.raises(InvalidRequest) as raised:
        SIMILARITY.inputs(text=["a", "b"], sentences=["c"])
    assert raised.value.data["field"] == "text"


@pytest.fixture
def copied(sentences: Model, tmp_path: Path) -> Any:
    """A copy of the folder, to change its files."""
    return shutil.copytree(sentences.path, tmp_path / "copy")


def rewrite(path: Path, **more: Any) -> None:
    data = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**data, **more}))


def test_prompts_and_lower_case_come_from_the_folder(copied: Any, ask: Ask) -> None:
    from modelyard.worker.runtimes.base import load_model

    rewrite(copied / "config_sentence_transformers.json", prompts={"query": "Find: "}, default_prompt_name=None)
    model = load_model("transformers", copied, ("base",), device="cpu")
    prompted = ask(TASK, model, {"text": "fox", "params": {"prompt_name": "query"}})
    assert prompted == pytest.approx(ask(TASK, model, {"text": "Find: fox"}), abs=1e-6)
    error = ask(TASK, model, {"text": "fox", "params": {"prompt_name": "passage"}})
    assert error.data["field"] == "params.prompt_name"
    assert "query" in error.message


@pytest.mark.parametrize(
    ("config", "poolings"),
    [
        ({"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}, ("mean",)),
        ({"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, ("cls", "max")),
        ({"pooling_mode": "lasttoken"}, ("lasttoken",)),
    ],
)
def test_pooling_is_read_however_it_is_written(copied: Any, config: dict[str, Any], poolings: tuple[Any, ...]) -> None:
    rewrite(copied / "1_Pooling" / "config.json", **config)
    assert read_head(copied).poolings == poolings


def test_unknown_module_is_refused(copied: Any) -> None:
    (copied / "modules.json").write_text(json.dumps([{"path": "", "type": "sentence_transformers.models.CNN"}]))
    with pytest.raises(ModelRefused, match="CNN"):
        read_head(copied)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_tensors_are_read_in_any_float(tmp_path: Path, dtype: Any) -> None:
    from safetensors.torch import save_file

    tensors = {"a": torch.randn(3, 4).to(dtype), "b": torch.randn(5).to(dtype)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    for name, array in read_safetensors(tmp_path / "x.safetensors").items():
        assert np.array_equal(array, tensors[name].float().numpy())
