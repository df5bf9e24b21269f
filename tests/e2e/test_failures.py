"""What is promised when things break: nothing unstarted is lost, started streams break loudly, no process stays."""

import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.jobs import benchmark_under_way, listed, request, until_over
from tests.e2e.loadgen import leave_at_random, post_each
from tests.serving import ENDLESS, Server, is_alive, wait_until

LONG = {"max_new_tokens": 100, "min_new_tokens": 100, "do_sample": False}


@pytest.fixture(scope="module")
def own_server(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server these tests may hurt, with models that cannot be served beside good ones."""
    folder = tmp_path_factory.mktemp("failures")
    shutil.copytree(zoo, folder / "models")
    write_bad_models(folder / "models")
    with Server(folder, folder / "models", "--job-benchmark-s", "0.3") as running:
        yield running


def write_bad_models(models: Path) -> None:
    source = models / "tiny/classifier"
    for name in ("empty", "truncated", "garbled", "pickled", "no-config", "shape"):
        shutil.copytree(source, models / "bad" / name)
    (models / "bad/empty/model.safetensors").unlink()
    weights = models / "bad/truncated/model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    (models / "bad/garbled/model.safetensors").write_bytes(b"\xff" * 4096)
    (models / "bad/pickled/model.safetensors").rename(models / "bad/pickled/pytorch_model.bin")
    (models / "bad/no-config/config.json").write_text("{not json")
    config = models / "bad/shape/config.json"
    config.write_text(config.read_text().replace('"hidden_size": ', '"hidden_size": 1'))


@pytest.fixture(autouse=True)
def clean(own_server: Server):
    yield
    assert own_server.process is not None
    if own_server.process.poll() is None:
        for cluster in own_server.client.get("/models/v2/list/clusters").json()["output"]:
            own_server.delete(cluster["modelId"])


def clients(few: int, many: int) -> pytest.MarkDecorator:
    """How many clients there are: `many` in `make verify-load`."""
    return pytest.mark.parametrize("clients", [few, pytest.param(many, marks=pytest.mark.verify(part="load"))])


@clients(50, 200)
def test_requests_at_once_to_a_cold_cluster_all_succeed(own_server: Server, clients: int):
    own_server.put("tiny/gpt2", capacity={"min": 0, "desired": 0, "max": 2})
    assert own_server.cluster("tiny/gpt2")["instances"] == 0
    bodies = [{"text": f"number {n}", "params": {"max_new_tokens": 5}} for n in range(clients)]
    answers = post_each(own_server.port, "tiny/gpt2", bodies, connections=clients)
    assert [status for status, _ in answers] == [200] * clients
    for body, (_, answer) in zip(bodies, answers, strict=True):
        assert body["text"].encode() in answer
    assert own_server.cluster("tiny/gpt2")["instances"] <= 2
    assert own_server.cluster("tiny/gpt2")["inferences"] == clients


@clients(50, 200)
def test_requests_at_once_without_a_cluster_make_one_cluster(own_server: Server, clients: int):
    bodies = [{"text": f"number {n}"} for n in range(clients)]
    answers = post_each(own_server.port, "tiny/classifier", bodies, connections=clients)
    assert [status for status, _ in answers] == [200] * clients
    (cluster,) = own_server.client.get("/models/v2/list/clusters").json()["output"]
    assert cluster["inferences"] == clients


def test_killing_a_replica_under_load_fails_no_unstarted_request(own_server: Server):
    own_server.put("tiny/gpt2", capacity={"min": 2, "desired": 2, "max": 2})
    own_server.wait_for("tiny/gpt2", ready=2)
    bodies = [{"text": f"number {n}", "params": {"max_new_tokens": 20}} for n in range(300)]
    killed: list[int] = []

    def kill_two() -> None:
        for share in (50, 150):
            wait_until(lambda share=share: own_server.cluster("tiny/gpt2")["inferences"] >= share)
            pid = wait_until(own_server.worker_pids)[0]
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    killer = threading.Thread(target=kill_two)
    killer.start()
    answers = post_each(own_server.port, "tiny/gpt2", bodies, connections=40)
    killer.join()
    assert len(killed) == 2
    # One that was held by both, alone by the second, is what may have killed them: it had started, twice.
    failed = [told for status, told in answers if status != 200]
    assert all(b"the second held nothing else" in told for told in failed), failed
    assert len(failed) <= 1
    own_server.wait_for("tiny/gpt2", ready=2, inFlight=0, queued=0)
    assert any("killed by SIGKILL" in line for line in own_server.events("tiny/gpt2"))


def test_a_started_stream_breaks_loudly_when_its_replica_dies(own_server: Server):
    model_id, endless = ENDLESS
    own_server.run(model_id, text="warm", params={"max_new_tokens": 1})
    pid = own_server.worker_pid()
    body = {"text": "the cat", "stream": True, "params": endless}
    with own_server.client.stream("POST", f"/models/v2/{model_id}", json=body) as response:
        pieces = response.iter_raw()
        next(pieces)
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass
    wait_until(lambda: own_server.load() == (0, 0))
    assert own_server.run(model_id, text="again", params={"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False})


@clients(100, 500)
def test_clients_that_leave_at_random_moments_leave_nothing_behind(own_server: Server, clients: int):
    own_server.put("tiny/gpt2", capacity={"min": 1, "desired": 1, "max": 2})
    own_server.wait_for("tiny/gpt2", ready=1)
    bodies = [{"text": f"number {n}", "stream": n % 2 == 0, "params": LONG} for n in range(clients)]
    leave_at_random(own_server.port, "tiny/gpt2", bodies, longest_s=2.0, seed=7)
    wait_until(lambda: own_server.load() == (0, 0))
    assert own_server.run("tiny/gpt2", text="still here", params={"max_new_tokens": 1}).startswith("still here")
    wait_until(lambda: own_server.load() == (0, 0))


def test_a_killed_server_leaves_no_process_and_its_successor_brings_back_clusters_and_jobs(own_server: Server):
    own_server.put("tiny/classifier", capacity={"min": 1, "desired": 2, "max": 2}, timeout=600)
    own_server.put("tiny/gpt2", capacity={"desired": 0, "max": 1})
    own_server.wait_for("tiny/classifier", ready=2)
    with benchmark_under_way(own_server, "tiny/mlm"):
        family = own_server.descendants()
        assert len(family) >= 3
        own_server.kill()
    wait_until(lambda: not any(map(is_alive, family)))
    own_server.start()
    own_server.wait_for("tiny/classifier", ready=2, status="running")
    assert own_server.cluster("tiny/gpt2")["instances"] == 0
    assert own_server.run("tiny/classifier", text="hello")
    job = until_over(own_server.client, "tiny/mlm")
    assert (job["status"], job["attempts"]) == ("done", 2)


def test_a_second_server_on_the_same_data_folder_is_refused(own_server: Server, zoo: Path):
    second = Server(own_server.data_dir.parent, zoo)
    second.log = second.log.with_name("second.log")
    with pytest.raises(AssertionError):
        second.start()
    assert second.process is not None
    assert second.process.wait(120) == 1
    assert "--data-dir" in second.log.read_text()
    second.client.close()


def test_models_that_cannot_be_served_say_why_and_hurt_nothing(own_server: Server):
    for name, word in (
        ("empty", "weights"), ("truncated", "model.safetensors"), ("garbled", "model.safetensors"),
        ("pickled", "--allow-unsafe"), ("no-config", "config.json"),
    ):  # fmt: skip
        response = own_server.post(f"bad/{name}", text="hello")
        assert 400 <= response.status_code < 600, name
        assert word in response.json()["error"], response.text
        listed = own_server.client.get(f"/models/v2/list/models?modelId=bad/{name}").json()["output"]
        assert word in listed[0]["error"]
    assert own_server.run("tiny/classifier", text="hello")


def test_weights_that_do_not_fit_the_architecture_fail_the_boot_with_the_reason(own_server: Server):
    response = own_server.post("bad/shape", text="hello")
    assert response.status_code == 503, response.text
    assert own_server.cluster("bad/shape")["status"] == "failed"
    reason = own_server.cluster("bad/shape")["error"]
    assert reason == response.json()["error"]
    assert any(reason in line for line in own_server.events("bad/shape"))


def test_stopping_a_server_politely_ends_every_process(own_server: Server):
    """The last test of this server."""
    own_server.run("tiny/classifier", text="hello")
    family = own_server.descendants()
    own_server.stop()
    wait_until(lambda: not any(map(is_alive, family)))
    assert own_server.process is not None
    assert own_server.process.returncode == 0, own_server.log.read_text()


def test_a_model_bigger_than_memory_is_refused_at_once_and_not_measured(zoo: Path, tmp_path: Path):
    with Server(tmp_path, zoo, "--memory-gb", "0.01", warm=False) as server:
        response = server.post("tiny/classifier", text="hello")
        assert response.status_code == 503
        assert "--memory" in response.json()["error"]
        assert any("--memory" in line for line in server.events("tiny/classifier"))
        assert server.worker_pids() == []
        assert server.is_up(warm=False)
        request(server.client, "tiny/bart")
        failed = until_over(server.client, "tiny/bart")
        assert failed["status"] == "failed"
        assert "memory" in failed["message"]
        assert listed(server, "tiny/bart")["benchmarked"] is False
