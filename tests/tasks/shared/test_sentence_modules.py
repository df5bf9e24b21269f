"""Folders of sentence-transformers and model2vec: weights of words, tables of vectors, layers after a model. Compared
with that library's formulas; tests/e2e/test_sentences.py has the library itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import BootFailed, InvalidRequest, ModelRefused
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared import embedding
from modelyard.worker.runtimes.base import load_model
from tests.builders.fixtures import Ask, Load
from tests.builders.reference import library_model

TASK = get_task("feature-extraction")
SIMILARITY = get_task("sentence-similarity")
TEXTS = [
    "The weather is lovely today.",
    "no",
    "Once upon a time there was a small fox in the old forest. " * 4,
]


@pytest.fixture
def splade(load: Load) -> Model:
    return load("splade", "base")


@pytest.fixture(scope="module")
def tables(model_folder: Callable[[str], Path]) -> dict[str, Any]:
    families = ("static_vectors", "model2vec")
    return {family: load_model("static", model_folder(family), ("base",)) for family in families}


def library_weights(folder: Path, model: Model, text: str, *, doubled: bool = False, added: bool = False) -> Any:
    """What SPLADE is: the logarithm of what is above 0 of each token's logits, the largest or the sum of all tokens."""
    tokens = model.tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
    with torch.inference_mode():
        weights = library_model("AutoModelForMaskedLM", folder)(**tokens).logits[0].relu().log1p()
    weights = weights.log1p() if doubled else weights
    return weights.sum(0) if added else weights.max(0).values


def as_vector(words: list[dict[str, Any]], size: int) -> Any:
    vector = np.zeros(size)
    vector[[word["index"] for word in words]] = [word["value"] for word in words]
    return vector


def test_words_are_weighed_as_the_librarys_logits_say(splade: Model, ask: Ask) -> None:
    answers = ask(TASK, splade, {"text": TEXTS})
    for text, words in zip(TEXTS, answers, strict=True):
        expected = library_weights(splade.path, splade, text).numpy()
        np.testing.assert_allclose(as_vector(words, len(expected)), expected, atol=1e-4)
        values = [word["value"] for word in words]
        assert values == sorted(values, reverse=True)
        assert 0 < min(values) < max(values)
        tokens = splade.tokenizer.convert_ids_to_tokens([word["index"] for word in words])
        assert [word["token"] for word in words] == [token or "" for token in tokens]  # the model has more words
    size = splade.config["vocab_size"]
    alone = ask(TASK, splade, {"text": TEXTS[1]})
    np.testing.assert_allclose(as_vector(alone, size), as_vector(answers[1], size), atol=1e-5)


def test_long_texts_are_weighed_in_batches_that_fit(splade: Model, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    together = ask(TASK, splade, {"text": TEXTS})
    shapes = []
    forward = type(splade).forward

    def noted(self: Model, inputs: Any, **more: Any) -> Any:
        shapes.append(inputs["input_ids"].shape)
        return forward(self, inputs, **more)

    monkeypatch.setattr(type(splade), "forward", noted)
    monkeypatch.setattr(embedding, "MOST_LOGITS", 2 * 32 * splade.config["vocab_size"])
    alone = ask(TASK, splade, {"text": TEXTS})
    assert [rows for rows, _ in shapes] == [2, 1]
    for one, other in zip(alone, together, strict=True):
        size = splade.config["vocab_size"]
        np.testing.assert_allclose(as_vector(one, size), as_vector(other, size), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "how"),
    [
        ({"pooling_strategy": "sum"}, {"added": True}),
        ({"pooling_strategy": "max", "activation_function": "log1p_relu"}, {"doubled": True}),
    ],
)
def test_words_are_weighed_as_the_folder_says(
    splade: Model, tmp_path: Path, ask: Ask, config: dict[str, str], how: dict[str, bool]
) -> None:
    folder = Path(shutil.copytree(splade.path, tmp_path / "copy"))
    (folder / "1_SpladePooling" / "config.json").write_text(json.dumps(config))
    words = ask(TASK, load_model("transformers", folder, ("base",), device="cpu"), {"text": TEXTS[0]})
    expected = library_weights(splade.path, splade, TEXTS[0], **how).numpy()
    np.testing.assert_allclose(as_vector(words, len(expected)), expected, atol=1e-4)


def test_a_model_that_weighs_words_makes_vectors_and_similarities_too(splade: Model, ask: Ask) -> None:
    vectors = np.array(ask(TASK, splade, {"text": TEXTS, "params": {"sparse": False}}))
    expected = np.array([library_weights(splade.path, splade, text).numpy() for text in TEXTS])
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    first, second, third = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    found = ask(SIMILARITY, splade, {"text": TEXTS[0], "sentences": TEXTS[1:]})
    assert found == pytest.approx([first @ second, first @ third], abs=1e-4)


def test_queries_are_weighed_by_a_table_and_documents_by_the_model(
    load: Load, ask: Ask, model_folder: Callable[[str], Path]
) -> None:
    model, folder = load("splade_documents", "base"), model_folder("splade_documents")
    table = load_file(folder / "query_0_SparseStaticEmbedding" / "model.safetensors")["weight"].numpy()
    for text, words in zip(TEXTS, ask(TASK, model, {"text": TEXTS, "params": {"prompt_name": "query"}}), strict=True):
        ids = set(model.tokenizer(text, add_special_tokens=False, truncation=True, max_length=32)["input_ids"])
        assert {word["index"]: word["value"] for word in words} == pytest.approx({each: table[each] for each in ids})
    document = folder / "document_0_MLMTransformer"
    for params in ({}, {"prompt_name": "document"}):
        words = ask(TASK, model, {"text": TEXTS[0], "params": params})
        expected = library_weights(document, model, TEXTS[0]).numpy()
        np.testing.assert_allclose(as_vector(words, len(expected)), expected, atol=1e-4)
    error = ask(TASK, model, {"text": "no", "params": {"prompt_name": "title"}})
    assert "query, document" in error.message


def test_a_router_of_other_lists_is_refused_by_name(model_folder: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(model_folder("splade_documents"), tmp_path / "copy"))
    routes = json.loads((folder / "router_config.json").read_text())
    routes["structure"]["query"] = routes["structure"]["document"]
    (folder / "router_config.json").write_text(json.dumps(routes))
    assert "has the module Router" in str(inspect_folder(folder).problem)


@pytest.mark.parametrize("params", [{"dimensions": 3}, {"pooling": "mean"}])
def test_settings_of_vectors_are_refused_where_words_are_answered(
    splade: Model, ask: Ask, params: dict[str, Any]
) -> None:
    error = ask(TASK, splade, {"text": "no", "params": params})
    assert isinstance(error, InvalidRequest)
    assert error.data["field"] == f"params.{next(iter(params))}"


def test_a_model_that_weighs_no_words_says_so(load: Load, ask: Ask) -> None:
    error = ask(TASK, load("bert_encoder", "base"), {"text": "no", "params": {"sparse": True}})
    assert error.data["field"] == "params.sparse"


def test_layers_after_a_model_are_those_of_the_library(load: Load, ask: Ask) -> None:
    """Its layers mixed, the mean over tokens, a layer norm, a dense layer with its input beside it."""
    model = load("layered_sentences", "base")
    mix = load_file(model.path / "1_WeightedLayerPooling" / "model.safetensors")["layer_weights"]
    norm = load_file(model.path / "3_LayerNorm" / "model.safetensors")
    dense = load_file(model.path / "4_Dense" / "model.safetensors")
    library = library_model("AutoModel", model.path)
    for text, vector in zip(TEXTS, ask(SIMILARITY, model, {"text": TEXTS}), strict=True):
        tokens = model.tokenizer(text, return_tensors="pt", truncation=True, max_length=32)
        with torch.inference_mode():
            layers = torch.stack(library(**tokens, output_hidden_states=True).hidden_states[1:])
        pooled = (layers[:, 0] * mix[:, None, None]).sum(0).div(mix.sum()).mean(0)
        normed = torch.nn.functional.layer_norm(pooled, (32,), norm["norm.weight"], norm["norm.bias"])
        expected = torch.tanh(dense["linear.weight"] @ normed + dense["linear.bias"])
        expected += dense["residual.weight"] @ normed
        assert vector == pytest.approx(expected.tolist(), abs=1e-4)


def test_layers_are_mixed_only_where_the_config_has_the_model_tell_them(
    load: Load, ask: Ask, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """As the library has it: else the states are the last layer's."""
    folder = Path(shutil.copytree(model_folder("layered_sentences"), tmp_path / "copy"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "output_hidden_states": False}))
    silent = load_model("transformers", folder, ("base",), device="cpu")
    plain = Path(shutil.copytree(folder, tmp_path / "plain"))
    modules = json.loads((plain / "modules.json").read_text())
    (plain / "modules.json").write_text(json.dumps([each for each in modules if "Weighted" not in each["type"]]))
    expected = load_model("transformers", plain, ("base",), device="cpu")
    first, second = (ask(SIMILARITY, model, {"text": TEXTS[0]}) for model in (silent, expected))
    assert first == pytest.approx(second)
    assert first != pytest.approx(ask(SIMILARITY, load("layered_sentences", "base"), {"text": TEXTS[0]}))


def test_a_table_is_averaged_as_sentence_transformers_does(tables: dict[str, Any], ask: Ask) -> None:
    model = tables["static_vectors"]
    table = load_file(model.path / "0_StaticEmbedding" / "model.safetensors")["embedding.weight"]
    for text, vector in zip(TEXTS, ask(SIMILARITY, model, {"text": TEXTS}), strict=True):
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert vector == pytest.approx(torch.nn.functional.normalize(table[ids].mean(0), dim=0).tolist(), abs=1e-5)


def test_a_table_of_model2vec_leaves_out_what_it_does_not_know(tables: dict[str, Any], ask: Ask) -> None:
    model = tables["model2vec"]
    tensors = load_file(model.path / "model.safetensors")
    text = "the weather ☕ is lovely"
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    known = [token for token in ids if token != model.tokenizer.unk_token_id]
    assert 0 < len(known) < len(ids)
    vectors = tensors["embeddings"][tensors["mapping"][known]] * tensors["weights"][known, None]
    expected = torch.nn.functional.normalize(vectors.mean(0), dim=0)
    assert ask(TASK, model, {"text": text}) == pytest.approx(expected.tolist(), abs=1e-5)
    assert ask(TASK, model, {"text": "☕"}).data["field"] == "text"


@pytest.mark.parametrize(
    ("family", "task", "runtime"),
    [
        ("splade", "feature-extraction", "transformers"),
        ("splade_documents", "feature-extraction", "transformers"),
        ("static_vectors", "sentence-similarity", "static"),
        ("model2vec", "feature-extraction", "static"),
        ("layered_sentences", "sentence-similarity", "transformers"),
    ],
)
def test_files_tell_what_serves_them(model_folder: Callable[[str], Path], family: str, task: str, runtime: str) -> None:
    found = inspect_folder(model_folder(family))
    assert (found.problem, found.task, found.runtime) == (None, task, runtime)
    assert found.weight_bytes is not None


def test_a_table_stays_on_the_cpu_and_makes_vectors_alone(tables: dict[str, Any], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tables["model2vec"].path, tmp_path / "copy"))
    with pytest.raises(BootFailed, match="stay on the CPU"):
        load_model("static", folder, ("base",), device="cuda:0")
    with pytest.raises(ModelRefused, match="offers none of: causal-lm"):
        load_model("static", folder, ("causal-lm",))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        load_model("static", folder, ("base",))
