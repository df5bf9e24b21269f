"""ONNX variants in a models folder, over HTTP: found, described, run, streamed and batched like every other model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.loadgen import post_each
from tests.serving import Server, wait_until

CLASSIFIER, GENERATOR = "tiny/classifier.onnx.8-bit", "tiny/gpt2.onnx"
PARAMS = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}


@pytest.fixture(scope="module")
def variants_server(
    variant_folder: Callable[[str, str, str], Path],
    model_folder: Callable[[str], Path],
    shared_server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Server]:
    """Serves two variants and the original of one."""
    models = tmp_path_factory.mktemp("variants")
    shutil.copytree(variant_folder("bert_classifier", "text-classification", "onnx.8-bit"), models / CLASSIFIER)
    shutil.copytree(variant_folder("gpt2", "text-generation", "onnx"), models / GENERATOR)
    shutil.copytree(model_folder("gpt2"), models / "tiny" / "gpt2")
    with shared_server.with_models(models) as running:
        yield running


def test_variants_are_listed_with_their_tasks(variants_server: Server) -> None:
    def listed() -> dict[str, tuple[str, str | None]]:
        models = variants_server.client.get("/models/v2/list/models").json()["output"]
        return {model["modelId"]: (model["task"], model["error"]) for model in models}

    tasks = wait_until(lambda: found if {CLASSIFIER, GENERATOR} <= (found := listed()).keys() else None)
    assert tasks[CLASSIFIER] == ("text-classification", None)
    assert tasks[GENERATOR] == ("text-generation", None)


def test_how_near_an_8_bit_variant_is_to_its_original_is_listed(variants_server: Server) -> None:
    listed = variants_server.client.get("/models/v2/list/models").json()["output"]
    quality = {model["modelId"]: model["quality"] for model in listed}
    assert quality[CLASSIFIER].keys() == {"label_agreement", "probability_error"}
    assert quality[CLASSIFIER]["label_agreement"] >= 0.97
    assert (quality[GENERATOR], quality["tiny/gpt2"]) == (None, None)


def test_a_classifier_answers_many_at_once(variants_server: Server) -> None:
    alone = variants_server.run(CLASSIFIER, text="a wonderful story")
    assert {entry["label"] for entry in alone} <= {"negative", "neutral", "positive"}
    bodies = [{"text": f"number {number}"} for number in range(24)]
    post_each(variants_server.port, CLASSIFIER, bodies, connections=12)


def test_a_generator_writes_and_streams_what_its_original_does(variants_server: Server) -> None:
    wanted = variants_server.run("tiny/gpt2", text="Once upon", params=PARAMS)
    assert variants_server.run(GENERATOR, text="Once upon", params=PARAMS) == wanted
    body = {"text": "Once upon", "stream": True, "params": PARAMS}
    with variants_server.client.stream("POST", f"/models/v2/{GENERATOR}", json=body) as response:
        pieces = list(response.iter_text())
    assert "".join(pieces) == wanted
    assert len(pieces) > 1
