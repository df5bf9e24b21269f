"""Models on request: queued once, measured in workers of their own, listed with what they need."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serving import Server, wait_until

QUICKLY = ("--job-benchmark-s", "0.3")
JOB_S = 180.0


@pytest.fixture(scope="module")
def models(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs") / "models"
    shutil.copytree(zoo, folder)
    return folder


@pytest.fixture(scope="module")
def own_server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("jobs-server"), models, *QUICKLY) as running:
        yield running


def client_of(server: Server, account: str) -> httpx.Client:
    """A client of another account."""
    return server.client_of(server.command("keys", "create", account, "--account", account))


def request(client: httpx.Client, model_id: str, **body: Any) -> httpx.Response:
    return client.post(f"/models/v2/request/{model_id}", json=body)


def job(client: httpx.Client, model_id: str) -> dict[str, Any]:
    return dict(client.get(f"/models/v2/request/{model_id}").json()["output"])


def without_times(job: dict[str, Any]) -> dict[str, Any]:
    """What became of a job. Its times are told from when an account asked."""
    times = {"created", "modified", "startTime", "endTime"}
    return {name: value for name, value in job.items() if name not in times}


def until_over(client: httpx.Client, model_id: str) -> dict[str, Any]:
    """The job once it is done or has failed."""
    wait_until(lambda: job(client, model_id)["endTime"] is not None, JOB_S, every_s=0.1)
    return job(client, model_id)


@contextmanager
def benchmark_under_way(server: Server, model_id: str) -> Iterator[None]:
    """A model that has been asked for, whose worker does not boot before the end of the block."""
    with server.boots_held():
        request(server.client, model_id)
        wait_until(lambda: job(server.client, model_id)["status"] == "benchmarking", JOB_S)
        yield


def listed(server: Server, model_id: str) -> dict[str, Any]:
    (row,) = server.client.get("/models/v2/list/models", params={"modelId": model_id}).json()["output"]
    return dict(row)


def test_one_job_however_many_ask_and_only_they_see_it(own_server: Server) -> None:
    model_id = "tiny/mlm"
    with client_of(own_server, "ada") as ada, client_of(own_server, "bob") as bob, client_of(own_server, "eve") as eve:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda client: request(client, model_id), [ada, bob] * 4))
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["output"] for answer in answers].count("Job queued") == 1
        done = until_over(ada, model_id)
        assert (done["status"], done["message"], done["attempts"]) == ("done", "Model available", 1)
        assert without_times(job(bob, model_id)) == without_times(done)
        assert [each["modelId"] for each in bob.get("/models/v2/list/jobs").json()["output"]] == [model_id]
        assert eve.get("/models/v2/list/jobs").json()["output"] == []
        assert eve.get(f"/models/v2/request/{model_id}").status_code == 404
        assert request(eve, model_id).json()["output"] == "Model available"
        assert without_times(job(eve, model_id)) == without_times(done)


def test_what_was_measured_is_listed_and_reserved(own_server: Server) -> None:
    model_id = "tiny/encoder"
    before = listed(own_server, model_id)
    assert (before["benchmarked"], before["memorySource"]) == (False, "estimated")
    request(own_server.client, model_id)
    assert until_over(own_server.client, model_id)["status"] == "done"

    after = listed(own_server, model_id)
    assert (after["benchmarked"], after["memorySource"]) == (True, "measured")
    assert 0 < after["ramRequired"] != before["ramRequired"]
    figures = after["benchmark"]
    assert figures["streams"] is False
    assert figures["loadTime"] > 0
    assert figures["requestsPerSecond"] > 0
    assert 1 <= figures["batch"] <= 32
    own_server.run(model_id, text="hello")
    assert own_server.cluster(model_id)["ramRequired"] == after["ramRequired"]
    own_server.delete(model_id)


def test_a_benchmark_is_nobodys_cluster_and_leaves_nothing(own_server: Server) -> None:
    model_id = "tiny/qa"
    with benchmark_under_way(own_server, model_id):
        assert own_server.client.get("/models/v2/list/clusters").json()["output"] == []
        assert own_server.client.get("/model/instances").json() == []
        assert own_server.client.get("/health").json()["clusters"] == 0
    assert until_over(own_server.client, model_id)["status"] == "done"
    wait_until(lambda: len(own_server.descendants()) == 2)  # the standby and the nursery


def test_a_job_survives_the_servers_death(own_server: Server) -> None:
    model_id = "tiny/t5"
    with benchmark_under_way(own_server, model_id):
        own_server.kill()
    own_server.start(warm=False)
    assert until_over(own_server.client, model_id)["attempts"] == 2
    assert job(own_server.client, model_id)["status"] == "done"


def test_a_job_that_fails_says_why_and_can_be_tried_again(own_server: Server, models: Path) -> None:
    model_id = "broken/classifier"
    shutil.copytree(models / "tiny/classifier", models / model_id)
    weights = models / model_id / "model.safetensors"
    good = weights.read_bytes()
    bad = bytearray(good)
    header = int.from_bytes(good[:8], "little")
    bad[8 : 8 + header] = good[8 : 8 + header].replace(b"classifier.weight", b"classifier.wrongs")
    weights.write_bytes(bad)

    request(own_server.client, model_id)
    failed = until_over(own_server.client, model_id)
    assert failed["status"] == "failed"
    assert "classifier.weight" in failed["message"]
    assert '"retry": true' in failed["message"]
    answer = own_server.client.post("/model/job", json={"model": model_id}).json()
    assert answer["success"] is False
    assert answer["message"] == answer["error"] == failed["message"]
    assert request(own_server.client, model_id).json()["output"] == failed["message"]

    weights.write_bytes(good)
    assert request(own_server.client, model_id, retry=True).json()["output"] == "Job queued"
    done = until_over(own_server.client, model_id)
    assert (done["status"], done["attempts"]) == ("done", 2)


def test_what_cannot_be_asked_for_is_refused_at_once(own_server: Server) -> None:
    answer = request(own_server.client, "tiny/gtp2")
    assert answer.status_code == 404
    assert "tiny/gpt2" in answer.json()["error"]
    v1 = own_server.client.post("/model/job", json={"model": "tiny/gtp2"})
    assert (v1.status_code, v1.json()["success"]) == (404, False)
    wrong = request(own_server.client, "tiny/gpt2", retry="yes")
    assert wrong.status_code == 422
    assert "retry" in wrong.json()["error"]


def test_a_model_that_never_fits_is_not_measured(models: Path, tmp_path: Path) -> None:
    with Server(tmp_path, models, *QUICKLY, "--memory-gb", "0.01", warm=False) as server:
        request(server.client, "tiny/bart")
        failed = until_over(server.client, "tiny/bart")
        assert failed["status"] == "failed"
        assert "memory" in failed["message"]
        assert listed(server, "tiny/bart")["benchmarked"] is False


def test_a_variant_that_cannot_be_made_says_so(own_server: Server) -> None:
    variant_id = "tiny/t5.onnx.8-bit"
    request(own_server.client, variant_id)
    failed = until_over(own_server.client, variant_id)
    assert failed["status"] == "failed"
    assert "tiny/t5" in failed["message"]


def test_nobody_pays_for_a_benchmark(own_server: Server) -> None:
    request(own_server.client, "tiny/bart")
    assert until_over(own_server.client, "tiny/bart")["status"] == "done"
    used = json.loads(own_server.command("usage", "--json"))
    assert [row for row in used if row["account"] == "modelyard" or row["model"] == "tiny/bart"] == []


def test_the_command_line_asks_waits_and_lists(own_server: Server) -> None:
    def modelyard(*arguments: str) -> str:
        command = [sys.executable, "-m", "modelyard", *arguments, "--url", own_server.url]
        command += ["--data-dir", str(own_server.data_dir)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=JOB_S).stdout

    assert modelyard("request", "tiny/nli", "--wait") == "done: Model available\n"
    lines = modelyard("jobs").splitlines()
    assert lines[0].split()[:2] == ["MODEL", "STATUS"]
    assert any(line.startswith("tiny/nli") and "Model available" in line for line in lines)
