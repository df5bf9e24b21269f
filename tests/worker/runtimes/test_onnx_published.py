"""Graphs that others have exported answer as the model they were made of, whatever they call what goes in and out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import BootFailed, ModelRefused
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.registry import get_task
from modelyard.worker.runtimes.base import load_file, load_model
from modelyard.worker.runtimes.onnx_published import name_outputs
from tests.builders.published import publish

LEFT_PADDED = {
    "input_ids": np.array([[0, 0, 5, 9], [7, 8, 9, 10]]),
    "attention_mask": np.array([[0, 0, 1, 1], [1] * 4]),
}
FAMILIES = {
    "text-classification": ("bert_classifier", {"text": "a wonderful story"}),
    "sentence-similarity": ("sentence_transformer", {"text": "a fox", "sentences": ["a dog", "the river"]}),
    "feature-extraction": ("sentence_transformer", {"text": "a fox"}),
}


def nothing(_row: int, _tokens: Any) -> bool:
    return False


def load(folder: Path, task: str, file: str = "onnx/model.onnx") -> Any:
    spec = ReplicaSpec("r", "a/b", str(folder), task, runtime="onnx", weights=file, context_tokens=64)
    return load_file(spec, get_task(task).heads)


@pytest.fixture(scope="module")
def published(
    variant_folder: Callable[[str, str, str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """(family, task, kind, what `publish` takes) → a new folder."""

    def folder(family: str, task: str, kind: str = "onnx", **more: Any) -> Path:
        made_for = "sentence-similarity" if task == "feature-extraction" else task
        return publish(variant_folder(family, made_for, kind), tmp_path_factory.mktemp(family), **more)

    return folder


@pytest.mark.parametrize(
    ("task", "kind", "off"),
    [
        ("text-classification", "onnx", 1e-4),
        ("text-classification", "onnx.8-bit", 0.1),
        ("feature-extraction", "onnx", 1e-4),
        ("sentence-similarity", "onnx", 1e-4),
        pytest.param("feature-extraction", "onnx.8-bit", 0.1, marks=pytest.mark.verify(part="variants")),
        pytest.param("sentence-similarity", "onnx.8-bit", 0.1, marks=pytest.mark.verify(part="variants")),
    ],
)
def test_it_answers_as_its_original(
    published: Callable[..., Path], model_folder: Any, ask: Any, task: str, kind: str, off: float
) -> None:
    family, body = FAMILIES[task]
    original = load_model("transformers", model_folder(family), get_task(task).heads, device="cpu")
    folder = published(family, task, kind)

    assert inspect_folder(folder).task in (task, "sentence-similarity")
    got, wanted = ask(get_task(task), load(folder, task), body), ask(get_task(task), original, body)

    np.testing.assert_allclose(numbers(got), numbers(wanted), atol=off)


def numbers(answer: Any) -> list[float]:
    """All figures of an answer, in order."""
    if isinstance(answer, dict):
        return [each for value in answer.values() for each in numbers(value)]
    if isinstance(answer, list):
        return [each for value in answer for each in numbers(value)]
    return [answer] if isinstance(answer, float) else []


@pytest.mark.parametrize("name", ["token_embeddings", "sentence_embedding"])
def test_what_an_encoder_gives_may_have_other_names(name: str) -> None:
    array = np.ones((1, 2, 3) if name == "token_embeddings" else (1, 3), np.float16)
    ours = name_outputs({name: array})["last_hidden_state" if array.ndim == 3 else "pooler_output"]
    assert (ours.shape, ours.dtype) == (array.shape, np.float32)


@pytest.mark.parametrize(("file", "branch"), [("onnx/model.onnx", False), ("decoder_model_merged.onnx", True)])
@pytest.mark.parametrize(
    "options",
    [{"max_new_tokens": 8}, {"max_new_tokens": 8, "num_beams": 3}, {"max_new_tokens": 6, "do_sample": True, "seed": 7}],
)
def test_a_decoder_generates_token_for_token_what_its_original_does(
    published: Callable[..., Path], model_folder: Any, file: str, branch: bool, options: dict[str, Any]
) -> None:
    folder = published("gpt2", "text-generation", name=file, branch=branch)
    original = load_model("transformers", model_folder("gpt2"), ("causal-lm",), device="cpu")

    found = inspect_folder(folder)
    model = load(folder, "text-generation", found.weight_files[0])

    assert (found.task, found.weight_files[0]) == ("text-generation", file)
    assert model.generate(LEFT_PADDED, options, nothing) == original.generate(LEFT_PADDED, options, nothing)


def test_a_cache_in_16_bits_is_kept_in_16_bits(published: Callable[..., Path], model_folder: Any) -> None:
    """Rounded, later tokens may be others; the first is made without a cache."""
    model = load(published("gpt2", "text-generation", half_cache=True), "text-generation")
    original = load_model("transformers", model_folder("gpt2"), ("causal-lm",), device="cpu")
    options = {"max_new_tokens": 6, "min_new_tokens": 6}

    got, wanted = (each.generate(LEFT_PADDED, options, nothing) for each in (model, original))

    assert [row[0].tokens[0] for row in got] == [row[0].tokens[0] for row in wanted]
    assert [len(row[0].tokens) for row in got] == [6, 6]


def test_a_decoder_without_a_cache_is_refused_by_name(published: Callable[..., Path]) -> None:
    folder = published("gpt2", "text-generation", renamed={"past.": "history."})
    with pytest.raises(
        ModelRefused, match=r"model\.onnx has the inputs history\.0\.key, .* Take a graph with past_key"
    ):
        load(folder, "text-generation")


def test_a_graph_for_another_task_is_refused_by_its_outputs(published: Callable[..., Path]) -> None:
    folder = published("bert_classifier", "text-classification")
    with pytest.raises(ModelRefused, match=r"gives logits, and base needs last_hidden_state or"):
        load(folder, "feature-extraction")


def test_it_runs_on_the_cpu_only(tmp_path: Path) -> None:
    spec = ReplicaSpec("r", "a/b", str(tmp_path), "chat", runtime="onnx", weights="model.onnx", device="cuda:0")
    with pytest.raises(BootFailed, match="ONNX files run on the CPU only"):
        load_file(spec, get_task("chat").heads)


def test_a_graph_that_is_cut_off_is_refused(published: Callable[..., Path]) -> None:
    folder = published("bert_classifier", "text-classification")
    file = folder / "onnx" / "model.onnx"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelRefused, match="cannot be loaded"):
        load(folder, "text-classification")


@pytest.mark.parametrize("location", ["../../../etc/passwd", "/etc/passwd", "../secret"])
def test_weights_outside_of_the_folder_are_not_read(published: Callable[..., Path], location: str) -> None:
    import onnx

    folder = published("bert_classifier", "text-classification")
    (folder / "secret").write_bytes(b"\0" * 10**6)
    file = folder / "onnx" / "model.onnx"
    model = onnx.load(file, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save(model, file)
    with pytest.raises(ModelRefused, match=r"(?i)external data path|outside|escape"):
        load(folder, "text-classification")


def test_a_snapshot_of_the_hub_is_links(published: Callable[..., Path], ask: Any, tmp_path: Path) -> None:
    """Its files lie among the repository's blobs, under other names."""
    folder = published("bert_classifier", "text-classification")
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    (snapshot / "onnx").mkdir(parents=True)
    blobs.mkdir()
    for number, file in enumerate(each for each in folder.rglob("*") if each.is_file()):
        (blobs / str(number)).write_bytes(file.read_bytes())
        (snapshot / file.relative_to(folder)).symlink_to(blobs / str(number))
    body = {"text": "a wonderful story"}
    task = get_task("text-classification")
    assert ask(task, load(snapshot, task.id), body) == ask(task, load(folder, task.id), body)
