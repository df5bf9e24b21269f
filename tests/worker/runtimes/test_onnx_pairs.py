"""Encoder-decoders that others have exported to ONNX write what their originals write, by one graph that writes or by
two, in all types of weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from modelyard.catalog.files import FolderFiles, scan_folder
from modelyard.catalog.inspection import inspect_files, inspect_folder
from modelyard.errors import ModelRefused
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.images import EXAMPLE
from modelyard.worker.runtimes.base import load_file, load_model
from tests.builders.fixtures import Ask
from tests.builders.recordings import in_base64, noise, wav

SELDOM = pytest.mark.verify(part="variants")
FOX, SEA = "the fox and the dog", "a long walk by the sea"
SHORT, LONG = ({"base64": in_base64(wav(noise(seconds, seed=2)))} for seconds in (0.8, 6.3))
WRITTEN: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "t5": ("text2text-generation", [{"text": FOX}, {"text": SEA}]),
    "bart": ("summarization", [{"text": FOX}, {"text": SEA}]),
    "marian": ("translation", [{"text": FOX}, {"text": SEA}]),
    "whisper": ("automatic-speech-recognition", [SHORT, LONG]),
    "moonshine": ("automatic-speech-recognition", [SHORT, {"base64": in_base64(wav(noise(1.3, seed=3)))}]),
    "vit_gpt2": ("image-to-text", [{"base64": EXAMPLE}]),
}
"""Family → its task, and what it is asked at once."""
OFTEN = ("t5",)
"""Whose graphs are exported in `make test`: those of each family take a second of CPU time, and Moonshine's 17."""
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"max_new_tokens": 12},
    "beams": {"max_new_tokens": 8, "num_beams": 3, "num_return_sequences": 2},
    "sampled": {"max_new_tokens": 8, "do_sample": True, "seed": 4},
}
"""Of writing from texts and pictures; speech is written down in one."""
LEAST_COSINE = {"fp16": 0.9999, "int8": 0.99, "uint8": 0.99, "q4": 0.8, "q4f16": 0.8, "bnb4": 0.8}
"""Of the logits of a text's first tokens to the original's; random weights lose more by 4 bits than trained ones."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Originals compute on one: several that wait for each other take minutes on a busy machine."""
    import torch

    torch.set_num_threads(1)


def load(folder: Path, task: str, label: str | None = None) -> Any:
    """The model that a label chooses, as a worker loads it."""
    found = inspect_files(FolderFiles(folder, scan_folder(folder)), label=label)
    assert (found.problem, found.runtime) == (None, "onnx")
    spec = ReplicaSpec("r", "a/b", str(folder), task, runtime="onnx", weights=found.weight_files[0])
    return load_file(spec, get_task(task).heads)


def seldom(family: str) -> Any:
    """The family, among what takes minutes unless it stands for the others."""
    return family if family in OFTEN else pytest.param(family, marks=SELDOM)


@pytest.mark.parametrize("family", [seldom(family) for family in WRITTEN])
@pytest.mark.parametrize("graphs", ["merged", "two"])
def test_it_writes_what_its_original_writes(
    published_folder: Callable[[str], Path], model_folder: Callable[[str], Path], ask: Ask, family: str, graphs: str
) -> None:
    task, bodies = WRITTEN[family]
    folder = published_folder(family)
    if graphs == "two":
        (folder / "onnx" / "decoder_model_merged.onnx").unlink()
    original = load_model("transformers", model_folder(family), get_task(task).heads, device="cpu")

    model = load(folder, task)

    assert len(inspect_folder(folder).weight_files) == (2 if graphs == "merged" else 3)
    for way, params in ({"greedy": {}} if task == "automatic-speech-recognition" else WAYS).items():
        asked = [{**body, "params": params} for body in bodies]
        assert ask(get_task(task), model, *asked) == ask(get_task(task), original, *asked), way


@SELDOM
def test_whisper_tells_languages_and_times(
    published_folder: Callable[[str], Path], model_folder: Callable[[str], Path], ask: Ask
) -> None:
    task = get_task("automatic-speech-recognition")
    original = load_model("transformers", model_folder("whisper"), task.heads, device="cpu")
    model = load(published_folder("whisper"), task.id)

    for params in ({"return_timestamps": True}, {"language": "fr"}, {"task": "translate"}):
        asked = {**LONG, "params": params}
        assert ask(task, model, asked) == ask(task, original, asked)
    refused = ask(task, model, {**LONG, "params": {"return_timestamps": "word"}})
    assert refused.data["field"] == "params.return_timestamps"
    assert "ONNX" in refused.data["accepted"]


def test_what_is_written_streams(published_folder: Callable[[str], Path], ask: Ask) -> None:
    task, pieces = get_task("text2text-generation"), list[str]()
    model = load(published_folder("t5"), task.id)
    answer = ask(task, model, {"text": FOX, "params": {"max_new_tokens": 8}}, emit=pieces.append)
    assert len(pieces) > 1
    assert "".join(pieces) == answer


@pytest.mark.parametrize("family", ["t5", pytest.param("whisper", marks=SELDOM)])
@pytest.mark.parametrize(
    "label", ["fp16", "uint8", *(pytest.param(each, marks=SELDOM) for each in ("int8", "q4", "q4f16", "bnb4"))]
)
def test_weights_of_fewer_bits_write_nearly_the_same(
    published_folder: Callable[[str], Path], model_folder: Callable[[str], Path], family: str, label: str
) -> None:
    from tests.builders.published_pairs import narrow

    task, folder = WRITTEN[family][0], published_folder(family)
    original = load_model("transformers", model_folder(family), get_task(task).heads, device="cpu")
    source: dict[str, Any] = {"input_ids": np.array([[5, 9, 7, 1], [8, 3, 1, 0]]),
                              "attention_mask": np.array([[1, 1, 1, 1], [1, 1, 1, 0]])}  # fmt: skip
    if family == "whisper":
        source = {"input_features": np.random.default_rng(0).normal(size=(2, 16, 200)).astype(np.float32)}
    begun = {**source, "decoder_input_ids": np.array([[0, 4, 6], [0, 9, 3]])}
    narrow(folder / "onnx", label)

    model = load(folder, task, label)

    got, wanted = (each.forward(begun)["logits"].reshape(6, -1) for each in (model, original))
    cosines = (got * wanted).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosines.min() >= LEAST_COSINE[label], cosines
    rows = model.generate(source, {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}, lambda *_: False)
    assert [len(row[0].tokens) for row in rows] == [4, 4]


def test_later_tokens_of_fewer_bits_are_those_of_the_whole_text(
    published_folder: Callable[[str], Path],
) -> None:
    """By its cache, token by token, as without one."""
    from tests.builders.published_pairs import narrow

    folder = published_folder("t5")
    narrow(folder / "onnx", "q4f16")
    model = load(folder, "text2text-generation", "q4f16")
    source = {"input_ids": np.array([[5, 9, 7, 1]]), "attention_mask": np.ones((1, 4), dtype=np.int64)}

    ((row,),) = model.generate(source, {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}, lambda *_: False)

    text = [0]
    for token in row.tokens:
        logits = model.forward({**source, "decoder_input_ids": np.array([text])})["logits"][0, -1]
        assert logits[token] >= logits.max() - 0.01 * np.ptp(logits)
        text.append(token)


def renamed(file: Path, old: str, new: str) -> None:
    """Gives an input of a graph another name."""
    model = onnx.load(file)
    for value in model.graph.input:
        value.name = new if value.name == old else value.name
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
    onnx.save(model, file)


@pytest.mark.parametrize(
    ("graph", "old", "reason"),
    [
        (
            "encoder_model",
            "input_ids",
            r"encoder_model\.onnx reads .*elsewhere.* encoders are served that read one of input_ids",
        ),
        ("decoder_model", "encoder_hidden_states", r"decoder_model\.onnx has the inputs elsewhere, so that it cannot"),
    ],
)
def test_graphs_that_want_what_no_task_gives_are_refused_by_name(
    published_folder: Callable[[str], Path], graph: str, old: str, reason: str
) -> None:
    folder = published_folder("t5")
    (folder / "onnx" / "decoder_model_merged.onnx").unlink()
    renamed(folder / "onnx" / f"{graph}.onnx", old, "elsewhere")
    with pytest.raises(ModelRefused, match=reason):
        load(folder, "text2text-generation")


def test_a_decoder_that_keeps_nothing_is_refused_by_name(published_folder: Callable[[str], Path]) -> None:
    folder = published_folder("t5")
    file = folder / "onnx" / "decoder_model_merged.onnx"
    model = onnx.load(folder / "onnx" / "decoder_model.onnx")
    del model.graph.output[1:]
    onnx.save(model, file)
    with pytest.raises(ModelRefused, match=r"decoder_model_merged\.onnx keeps no cache of keys and values"):
        load(folder, "text2text-generation")
