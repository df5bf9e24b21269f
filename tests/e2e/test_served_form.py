"""A job measures a classifier beside its graph in ONNX Runtime and in OpenVINO, which whoever boots next may get: the
same answers.

The job on a fake engine is in tests/jobs/test_queue.py, what boots in tests/catalog/test_forms.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli.models import benchmark_words
from tests.builders import openvino
from tests.e2e.jobs import request, until_over
from tests.serving import Server

MODEL = "tiny/classifier"
TEXTS = ["a wonderful story", "the cat sat on the mat", "no"]


PLUGINS = {"transformers": "libtorch", "onnx": "onnxruntime", "openvino": "libopenvino_intel_cpu_plugin"}
"""Runtime → what a worker that uses it has mapped. Those without torch share what imports the two others."""


def runtime_of(server: Server) -> str:
    """What computes in the one worker there is."""
    (worker,) = server.worker_pids()
    mapped = Path(f"/proc/{worker}/maps").read_text()
    return [name for name, library in PLUGINS.items() if library in mapped][-1]


@pytest.fixture
def classifier(model_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    """A models folder that holds it."""
    shutil.copytree(model_folder("bert_classifier"), tmp_path / "models" / MODEL)
    return tmp_path / "models"


def measure(server: Server, kind: str) -> dict[str, Any]:
    """Has the model measured; the list's rows, by id."""
    assert request(server.client, MODEL).is_success
    job = until_over(server.client, MODEL)
    assert job["status"] == "done", job
    answer = server.client.get("/models/v2/list/models", params={"search": MODEL}).json()["output"]
    listed = {each["modelId"]: each for each in answer}
    assert listed[f"{MODEL}.{kind}"]["benchmarked"]
    return listed


def check_same(answers: Sequence[Any], wanted: Sequence[Any]) -> None:
    for own, theirs in zip(answers, wanted, strict=True):
        assert [each["label"] for each in own] == [each["label"] for each in theirs]
        assert [each["score"] for each in own] == pytest.approx([each["score"] for each in theirs], abs=1e-4)


@pytest.mark.verify(part="variants")
def test_another_form_is_measured_and_serves_from_the_next_boot_on(classifier: Path, tmp_path: Path) -> None:
    # The word of the operator takes the place of the measurement's, which may go either way on a busy machine.
    flags = ("--runtime", "fastest", "--runtime", f"{MODEL}=onnx", "--job-benchmark-s", "0.3")
    with Server(tmp_path, classifier, *flags) as server:
        wanted = [server.run(MODEL, text=text) for text in TEXTS]
        assert runtime_of(server) == "transformers"
        listed = measure(server, "onnx")
        form = listed[MODEL]["servedForm"]
        assert form["variant"] in ("onnx", None)
        assert "× as fast with the smallest requests" in form["why"]
        assert "answers equal to" in form["why"]
        said = benchmark_words(listed[MODEL]["benchmark"])
        assert re.search(r"requests/s one at a time in \d+\.\d\d GB", said), said
        assert listed[f"{MODEL}.onnx"]["ramRequired"] < listed[MODEL]["ramRequired"]

        server.run(MODEL, text=TEXTS[0])
        assert runtime_of(server) == "transformers"  # what runs is not changed
        assert server.client.delete(f"/models/v2/{MODEL}").is_success
        answers = [server.run(MODEL, text=text) for text in TEXTS]
        assert runtime_of(server) == "onnx"
    check_same(answers, wanted)


@pytest.mark.verify(part="variants")
def test_openvino_is_measured_too_where_it_is_installed_and_answers_alike(classifier: Path, tmp_path: Path) -> None:
    flags = ("--runtime", "fastest", "--job-benchmark-s", "0.3", "--sandbox", "strict")
    path = openvino.environment()["PYTHONPATH"]
    with Server(tmp_path, classifier, *flags, PYTHONPATH=path) as server:
        wanted = [server.run(MODEL, text=text) for text in TEXTS]
        why = measure(server, "openvino")[MODEL]["servedForm"]["why"]
        assert re.search(r"(^|; )openvino( against onnx)?: (\d+\.\d\d × as fast|it needs more memory)", why), why
        assert server.client.delete(f"/models/v2/{MODEL}").is_success
        answers = [server.run(f"{MODEL}.openvino", text=text) for text in TEXTS]
        assert runtime_of(server) == "openvino"
    check_same(answers, wanted)
