"""Graphs whose weights are stored in fewer bits, as others publish them, answer as their original within what the bits
cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from modelyard.catalog.onnx_files import find_onnx_models
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_file, load_model
from tests.builders.narrowed import NARROW
from tests.builders.published import publish

IDS = np.array([[2, 7, 9, 3, 12, 5, 8, 4]])
INPUTS = {"input_ids": IDS, "attention_mask": np.ones_like(IDS)}
NEAR = 0.01
"""Of the spread of a token's logits: what 16 bits and weights rounded in other shapes may turn around."""
LEAST_COSINE = {"fp16": 0.9999, "int8": 0.99, "uint8": 0.99, "q4": 0.8, "q4f16": 0.8, "bnb4": 0.8}
"""Of a text's vector to the original's. Random weights lose more by 4 bits than trained ones; those of another graph
have none in common."""


OFTEN = ("fp16", "q4", "uint8")
"""One of each way to store weights in fewer bits: halves, blocks, integers of 8 bits."""
KINDS = [kind if kind in OFTEN else pytest.param(kind, marks=pytest.mark.verify(part="variants")) for kind in NARROW]


@pytest.fixture(scope="module")
def encoder(variant_folder: Callable[[str, str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One repository with a graph of each type."""
    made = variant_folder("sentence_transformer", "sentence-similarity", "onnx")
    return publish(made, tmp_path_factory.mktemp("types"))


@pytest.fixture(scope="module")
def decoder(variant_folder: Callable[[str, str, str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return publish(variant_folder("gpt2", "text-generation", "onnx"), tmp_path_factory.mktemp("types-decoder"))


def load(folder: Path, task: str, kind: str) -> Any:
    """The graph that the label chooses, which is made first."""
    NARROW[kind](folder / "onnx" / "model.onnx", folder / "onnx" / f"model_{kind}.onnx")
    sizes = {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    (graph,) = [each for each in find_onnx_models(sizes) if each.label == kind]
    whole = next(each for each in find_onnx_models(sizes) if each.label == "fp32")
    assert graph.size_bytes < whole.size_bytes
    spec = ReplicaSpec("r", "a/b", str(folder), task, runtime="onnx", weights=graph.files[0], context_tokens=64)
    return load_file(spec, get_task(task).heads)


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_answers_as_its_original(encoder: Path, model_folder: Any, ask: Any, kind: str) -> None:
    original = load_model("transformers", model_folder("sentence_transformer"), ("base",), device="cpu")
    body = {"text": ["a fox", "the sea at night", "a dog that slept by the river"]}

    narrow = load(encoder, "feature-extraction", kind)

    got, wanted = (np.array(ask(get_task("feature-extraction"), each, body)) for each in (narrow, original))
    cosines = (got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() >= LEAST_COSINE[kind], cosines


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_writes_what_the_same_graph_says_of_everything_at_once(decoder: Path, kind: str) -> None:
    """By its cache, token by token."""
    model = load(decoder, "text-generation", kind)

    ((row,),) = model.generate(INPUTS, {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}, lambda *_: False)

    text = [*IDS[0].tolist(), *row.tokens]
    assert len(row.tokens) == 4
    for length, token in enumerate(row.tokens, IDS.shape[1]):
        logits = said_at_once(decoder / "onnx" / f"model_{kind}.onnx", text[:length])
        assert logits[token] >= logits.max() - NEAR * np.ptp(logits)


def said_at_once(file: Path, ids: list[int]) -> Any:
    """The graph's logits for the token that follows, by ONNX Runtime called directly, with nothing in its cache."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    given: dict[str, Any] = {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
    for each in session.get_inputs():
        if each.name.startswith("past_key_values"):
            kind = np.float16 if "float16" in each.type else np.float32
            given[each.name] = np.zeros((1, each.shape[1], 0, each.shape[3]), kind)
        elif each.name == "position_ids":
            given[each.name] = np.arange(len(ids))[None]
    return session.run(["logits"], given)[0][0, -1].astype(np.float32)
