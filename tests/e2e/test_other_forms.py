"""Models in other forms over HTTP: exported to ONNX elsewhere, and pickled; answered as their originals."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.images import EXAMPLE
from tests.builders import build
from tests.builders.fixtures import Ask, Load
from tests.builders.published import publish
from tests.plugin import UNSAFE
from tests.serving import Server

WRITER, CHOOSER = "tests/writer", "tests/chooser"
ORIGINAL, EXPORTED, FORBIDDEN = "tests/original", "tests/exported", "tests/forbidden"
PICKLED, HOSTILE = UNSAFE
TEXT = "a wonderful story"


class Command:
    """Unpickling it runs a command."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __reduce__(self) -> Any:
        return os.system, (self._command,)


def pickle_weights(folder: Path, **more: Any) -> None:
    """Makes a pickle of the folder's weights, and of what else is given."""
    weights = folder / "model.safetensors"
    torch.save({**load_file(weights), **more}, folder / "pytorch_model.bin")
    weights.unlink()


@pytest.fixture(scope="module")
def canary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("canary") / "sings"


@pytest.fixture(scope="module")
def server(
    shared_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
    variant_folder: Callable[[str, str, str], Path],
    published_folder: Callable[[str], Path],
    canary: Path,
) -> Iterator[Server]:
    models = tmp_path_factory.mktemp("models")
    for model_id in (ORIGINAL, PICKLED, FORBIDDEN, HOSTILE):
        build("bert_classifier", models / model_id)
    publish(variant_folder("bert_classifier", "text-classification", "onnx"), models / EXPORTED)
    for family, model_id in (("t5", WRITER), ("clip", CHOOSER)):
        published_folder(family).rename(models / model_id)
    pickle_weights(models / PICKLED)
    pickle_weights(models / FORBIDDEN)
    pickle_weights(models / HOSTILE, evil=Command(f"touch {canary}"))
    with shared_server.with_models(models) as running:
        yield running


def scores(output: Any) -> dict[str, float]:
    return {each["label"]: each["score"] for each in output}


@pytest.mark.parametrize("model_id", [EXPORTED, f"{EXPORTED}:FP32", PICKLED])
def test_it_answers_as_its_original(server: Server, model_id: str) -> None:
    wanted = scores(server.run(ORIGINAL, text=TEXT))

    assert scores(server.run(model_id, text=TEXT)) == pytest.approx(wanted, abs=1e-4)


def test_an_encoder_and_its_decoder_answer_as_their_original(server: Server, load: Load, ask: Ask) -> None:
    body = {"text": "the fox and the dog", "params": {"max_new_tokens": 8}}
    wanted = ask(get_task("text2text-generation"), load("t5", "seq2seq-lm"), body)
    assert server.run(WRITER, **body) == wanted


def test_a_graph_of_images_and_texts_answers_as_its_original(server: Server, load: Load, ask: Ask) -> None:
    """By a worker without torch."""
    body = {"base64": EXAMPLE, "candidate_labels": ["a fox", "the sea", "a dog"]}
    original = load("clip", "zero-shot-image-classification")
    wanted = scores(ask(get_task("zero-shot-image-classification"), original, body))
    assert scores(server.run(CHOOSER, **body)) == pytest.approx(wanted, abs=1e-4)


def test_weights_are_converted_into_the_data_folder_once(server: Server) -> None:
    server.run(PICKLED, text=TEXT)
    kept = server.data_dir / "converted" / PICKLED
    before = [(each.name, each.stat().st_ino) for each in kept.iterdir()]
    server.delete(PICKLED)

    server.run(PICKLED, text=TEXT)

    assert [(each.name, each.stat().st_ino) for each in kept.iterdir()] == before
    assert len(before) == 1


def test_a_pickle_that_nobody_allowed_is_refused_with_the_command(server: Server) -> None:
    response = server.post(FORBIDDEN, text=TEXT)

    assert response.status_code == 422
    assert f"modelyard serve --allow-unsafe {FORBIDDEN}" in response.json()["error"]


def test_an_allowed_pickle_that_runs_code_does_nothing_and_is_named(server: Server, canary: Path) -> None:
    response = server.post(HOSTILE, text=TEXT)

    assert response.status_code == 422, response.text
    assert "pytorch_model.bin cannot be read as weights alone" in response.json()["error"]
    assert not canary.exists()


def test_a_label_that_is_not_there_is_unknown(server: Server) -> None:
    response = server.post(f"{EXPORTED}:q4", text=TEXT)

    assert response.status_code == 404
    assert f"{EXPORTED} has no file q4; there are fp32." in response.json()["error"]
