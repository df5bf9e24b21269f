"""A job measures a classifier beside its graph in ONNX Runtime, which whoever boots next may get: the same answers.

The job on a fake engine is in tests/jobs/test_queue.py, what boots in tests/catalog/test_forms.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from modelyard.cli.models import benchmark_words
from tests.e2e.jobs import request, until_over
from tests.serving import Server

MODEL = "tiny/classifier"
TEXTS = ["a wonderful story", "the cat sat on the mat", "no"]


def libraries(server: Server) -> set[str]:
    """Which of the two runtimes the one worker there is has mapped."""
    (worker,) = server.worker_pids()
    mapped = Path(f"/proc/{worker}/maps").read_text()
    return {name for name in ("libtorch", "onnxruntime") if name in mapped}


@pytest.mark.verify(part="variants")
def test_another_form_is_measured_and_serves_from_the_next_boot_on(
    model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(model_folder("bert_classifier"), tmp_path / "models" / MODEL)
    # The word of the operator takes the place of the measurement's, which may go either way on a busy machine.
    flags = ("--runtime", "fastest", "--runtime", f"{MODEL}=onnx", "--job-benchmark-s", "0.3")
    with Server(tmp_path, tmp_path / "models", *flags) as server:
        wanted = [server.run(MODEL, text=text) for text in TEXTS]
        assert libraries(server) == {"libtorch"}
        assert request(server.client, MODEL).is_success
        job = until_over(server.client, MODEL)
        assert job["status"] == "done", job
        listed = {each["modelId"]: each for each in server.client.get("/models/v2/list/models").json()["output"]}
        form = listed[MODEL]["servedForm"]
        assert form["variant"] in ("onnx", None)
        assert "× as fast with the smallest requests" in form["why"]
        assert "answers equal to" in form["why"]
        assert listed[f"{MODEL}.onnx"]["benchmarked"]
        said = benchmark_words(listed[MODEL]["benchmark"])
        assert re.search(r"requests/s one at a time in \d+\.\d\d GB", said), said
        assert listed[f"{MODEL}.onnx"]["ramRequired"] < listed[MODEL]["ramRequired"]

        server.run(MODEL, text=TEXTS[0])
        assert libraries(server) == {"libtorch"}  # what runs is not changed
        assert server.client.delete(f"/models/v2/{MODEL}").is_success
        answers = [server.run(MODEL, text=text) for text in TEXTS]
        assert libraries(server) == {"onnxruntime"}
    for own, theirs in zip(answers, wanted, strict=True):
        assert [each["label"] for each in own] == [each["label"] for each in theirs]
        assert [each["score"] for each in own] == pytest.approx([each["score"] for each in theirs], abs=1e-4)
