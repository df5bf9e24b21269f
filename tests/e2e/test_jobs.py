"""Models on request: queued once, measured in workers of their own, listed with what they need."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.jobs import benchmark_under_way, job, listed, request, until_over
from tests.serving import Server, wait_until

CLASSIFIER, BROKEN = "jobs/classifier", "broken/classifier"


@pytest.fixture(scope="module")
def models(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zoo by other names, and a place for a model that cannot be served."""
    folder = tmp_path_factory.mktemp("jobs")
    shutil.copytree(zoo / "tiny", folder / "jobs")
    (folder / "broken").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(models: Path, shared_server: Server) -> Iterator[Server]:
    with shared_server.with_models(models) as running:
        yield running


def client_of(server: Server, account: str) -> httpx.Client:
    """A client of another account."""
    return server.client_of(server.command("keys", "create", account, "--account", account))


def without_times(job: dict[str, Any]) -> dict[str, Any]:
    """What became of a job. Its times are told from when an account asked."""
    times = {"created", "modified", "startTime", "endTime"}
    return {name: value for name, value in job.items() if name not in times}


def test_one_job_however_many_ask_and_only_they_see_it(server: Server) -> None:
    model_id = "jobs/mlm"
    with client_of(server, "ada") as ada, client_of(server, "bob") as bob, client_of(server, "eve") as eve:
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda client: request(client, model_id), [ada, bob] * 4))
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["output"] for answer in answers].count("Job queued") == 1
        done = until_over(ada, model_id)
        assert (done["status"], done["message"], done["attempts"]) == ("done", "Model available", 1)
        assert without_times(job(bob, model_id)) == without_times(done)
        assert [each["modelId"] for each in bob.get("/models/v2/list/jobs").json()["output"]] == [model_id]
        for name, found in ((model_id, [model_id]), ("jobs/none", [])):
            narrowed = bob.get("/models/v2/list/jobs", params={"modelId": name}).json()["output"]
            assert [each["modelId"] for each in narrowed] == found
        assert eve.get("/models/v2/list/jobs").json()["output"] == []
        assert eve.get("/models/v2/list/jobs", params={"modelId": model_id}).json()["output"] == []
        assert eve.get(f"/models/v2/request/{model_id}").status_code == 404
        assert request(eve, model_id).json()["output"] == "Model available"
        assert without_times(job(eve, model_id)) == without_times(done)


def test_what_was_measured_is_listed_and_reserved(server: Server) -> None:
    model_id = "jobs/encoder"
    before = listed(server, model_id)
    assert (before["benchmarked"], before["memorySource"]) == (False, "estimated")
    request(server.client, model_id)
    assert until_over(server.client, model_id)["status"] == "done"

    after = listed(server, model_id)
    assert (after["benchmarked"], after["memorySource"]) == (True, "measured")
    assert 0 < after["ramRequired"] != before["ramRequired"]
    figures = after["benchmark"]
    assert figures["streams"] is False
    assert figures["loadTime"] > 0
    assert figures["requestsPerSecond"] > 0
    assert 1 <= figures["batch"] <= 32
    server.run(model_id, text="hello")
    assert server.cluster(model_id)["ramRequired"] == after["ramRequired"]
    server.delete(model_id)


def test_a_benchmark_is_nobodys_cluster_and_leaves_nothing(server: Server) -> None:
    model_id = "jobs/qa"
    wait_until(lambda: not server.workers())
    processes, clusters = len(server.descendants()), server.health()["clusters"]
    with benchmark_under_way(server, model_id):
        assert server.client.get("/models/v2/list/clusters").json()["output"] == []
        assert server.client.get("/model/instances").json() == []
        assert server.health()["clusters"] == clusters
    assert until_over(server.client, model_id)["status"] == "done"
    wait_until(lambda: len(server.descendants()) == processes)


def test_a_job_that_fails_says_why_and_can_be_tried_again(server: Server, models: Path) -> None:
    shutil.copytree(models / CLASSIFIER, models / BROKEN)
    weights = models / BROKEN / "model.safetensors"
    good = weights.read_bytes()
    bad = bytearray(good)
    header = int.from_bytes(good[:8], "little")
    bad[8 : 8 + header] = good[8 : 8 + header].replace(b"classifier.weight", b"classifier.wrongs")
    weights.write_bytes(bad)

    request(server.client, BROKEN)
    failed = until_over(server.client, BROKEN)
    assert failed["status"] == "failed"
    assert "classifier.weight" in failed["message"]
    assert '"retry": true' in failed["message"]
    answer = server.client.post("/model/job", json={"model": BROKEN}).json()
    assert answer["success"] is False
    assert answer["message"] == answer["error"] == failed["message"]
    assert request(server.client, BROKEN).json()["output"] == failed["message"]

    weights.write_bytes(good)
    assert request(server.client, BROKEN, retry=True).json()["output"] == "Job queued"
    done = until_over(server.client, BROKEN)
    assert (done["status"], done["attempts"]) == ("done", 2)


def test_what_cannot_be_asked_for_is_refused_at_once(server: Server) -> None:
    answer = request(server.client, "jobs/gtp2")
    assert answer.status_code == 404
    assert "jobs/gpt2" in answer.json()["error"]
    v1 = server.client.post("/model/job", json={"model": "jobs/gtp2"})
    assert (v1.status_code, v1.json()["success"]) == (404, False)
    wrong = request(server.client, "jobs/gpt2", retry="yes")
    assert wrong.status_code == 422
    assert "retry" in wrong.json()["error"]


def test_a_variant_that_cannot_be_made_says_so(server: Server) -> None:
    variant_id = "jobs/t5.onnx.8-bit"
    request(server.client, variant_id)
    failed = until_over(server.client, variant_id)
    assert failed["status"] == "failed"
    assert "jobs/t5" in failed["message"]


def test_nobody_pays_for_a_benchmark(server: Server) -> None:
    request(server.client, "jobs/bart")
    assert until_over(server.client, "jobs/bart")["status"] == "done"
    used = json.loads(server.command("usage", "--json"))
    assert [row for row in used if row["account"] == "modelyard" or row["model"] == "jobs/bart"] == []


def test_the_command_line_asks_waits_and_lists(server: Server) -> None:
    assert server.command("request", "jobs/nli", "--wait", "--url", server.url) == "done: Model available"
    lines = server.command("jobs", "--url", server.url).splitlines()
    assert lines[0].split()[:2] == ["MODEL", "STATUS"]
    assert any(line.startswith("jobs/nli") and "Model available" in line for line in lines)
