"""Commands that bring their own server, or do without one."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from modelyard.cli.models import benchmark_words
from tests.cli.conftest import DEADLINE_S, Inside, Terminal, clean_environ
from tests.providers.local import PACKAGES
from tests.serving import PLAIN, family_of, is_alive, wait_until
from tests.telemetry.collector import Collector, attributes_of, collecting

GPT2 = "tiny/gpt2"


@pytest.fixture
def alone(terminal: Terminal, zoo: Path) -> Terminal:
    """A terminal on a machine with models and no server."""
    return Terminal({**terminal.environ, "MODELYARD_MODELS_DIR": str(zoo)})


@pytest.fixture
def alone_inside(inside: Inside, alone: Terminal) -> Inside:
    """The same in this process."""
    return Inside({**inside.environ, **alone.environ})


def children_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that a command has started, once there are any. Fails, with what it said, when it ends before."""

    def found() -> list[psutil.Process]:
        assert process.poll() is None, process.communicate()
        return family_of(psutil.Process(process.pid))

    family: list[psutil.Process] = wait_until(found)
    return family


def test_run_boots_a_replica_of_an_example_model_for_the_call_and_leaves_nothing(terminal: Terminal) -> None:
    """No folder of models is named."""
    process = terminal.start("run", "modelyard/tiny-stories", "Once upon a time there was a", "-p", "seed=1")
    family = children_of(process)
    story, said = process.communicate()
    assert process.returncode == 0, said
    assert story.startswith("Once upon a time there was a ")
    assert len(story.split()) > 20
    assert said == ""
    wait_until(lambda: not any(map(is_alive, family)))


def test_interrupting_a_boot_leaves_nothing(alone: Terminal) -> None:
    process = alone.start("run", GPT2, "Once")
    family = children_of(process)
    process.send_signal(signal.SIGINT)
    out, said = process.communicate()
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in said
    wait_until(lambda: not any(map(is_alive, family)))


def test_run_says_why_a_model_cannot_be_run(alone_inside: Inside) -> None:
    assert "Did you mean tiny/gpt2" in alone_inside.problem("run", "tiny/gtp2", "Once")
    assert "model: got '/no/such/folder'" in alone_inside.problem("run", "/no/such/folder", "Once")
    assert "params.max_new_tokens" in alone_inside.problem("run", GPT2, "Once", "-p", "max_new_tokens=many")


def test_ls_and_pull_without_a_server(alone: Terminal, alone_inside: Inside, zoo: Path) -> None:
    assert "tiny/gpt2" in {model["modelId"] for model in json.loads(alone.ok("ls", "--json"))}
    narrowed = json.loads(alone_inside.ok("ls", "GPT", "--limit", "1", "--json"))
    assert [(model["modelId"], model["memorySource"]) for model in narrowed] == [(GPT2, "estimated")]
    assert "task: got 'chta'; accepted: one of" in alone_inside.problem("ls", "--task", "chta")
    assert alone_inside.ok("pull", GPT2).strip() == str(zoo / GPT2)


def test_show_says_what_a_model_is_and_what_it_is_not(alone_inside: Inside, tmp_path: Path) -> None:
    shown = json.loads(alone_inside.ok("models", "show", GPT2, "--json"))
    assert (shown["modelId"], shown["task"], shown["error"]) == (GPT2, "text-generation", None)
    told = dict(line.split(maxsplit=1) for line in alone_inside.ok("models", "show", GPT2).splitlines())
    assert re.fullmatch(r"0\.\d\d GB", told["ramRequired"].strip())
    assert re.fullmatch(r"[\d.]+K", told["params"].strip())
    (tmp_path / "gliner_config.json").write_text("{}")
    lines = dict(line.split(maxsplit=1) for line in alone_inside.ok("models", "show", str(tmp_path)).splitlines())
    assert lines["modelId"].strip() == str(tmp_path)
    assert f"{tmp_path} is a GLiNER model, which Modelyard does not run; take a model for token-" in lines["error"]
    assert (lines["ramRequired"].strip(), lines["memorySource"].strip()) == ("-", "-")


def test_show_tells_what_is_known_of_a_closed_model(alone_inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PACKAGES)
    shown = json.loads(alone_inside.ok("models", "show", "openai/gpt-4o", "--json"))
    assert (shown["modelId"], shown["task"], shown["source"]) == ("openai/gpt-4o", "chat", "provider")
    assert shown["contextLength"] == 128_000
    assert shown["prices"]["newToken"] > shown["prices"]["readToken"] > 0
    assert (shown["error"], shown["warning"], shown["files"]) == (None, None, [])
    lines = dict(line.split(maxsplit=1) for line in alone_inside.ok("models", "show", "openai/gpt-4o").splitlines())
    assert lines["contextLength"].strip() == "128000"
    assert "newToken" in lines["prices"]


WAITING_CODE = """
import os, time
from transformers import GPT2Config, GPT2LMHeadModel

while not os.path.exists("LOADS"):
    time.sleep(0.01)


class WaitingConfig(GPT2Config):
    model_type = "waiting"


class WaitingModel(GPT2LMHeadModel):
    config_class = WaitingConfig
"""
"""Of a model that goes on loading until there is a file in its folder."""
WAITING, LOADS = "own/waiting", "loads"


@pytest.fixture(scope="module")
def waiting_model(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a model."""
    folder = tmp_path_factory.mktemp("waiting") / WAITING
    shutil.copytree(zoo / GPT2, folder)
    config = json.loads((folder / "config.json").read_text())
    classes = {"AutoConfig": "waiting.WaitingConfig", "AutoModelForCausalLM": "waiting.WaitingModel"}
    own = {"model_type": "waiting", "architectures": ["WaitingModel"], "auto_map": classes}
    (folder / "config.json").write_text(json.dumps({**config, **own}))
    (folder / "README.md").write_text("---\npipeline_tag: text-generation\n---\n")
    (folder / "waiting.py").write_text(WAITING_CODE.replace("LOADS", str(folder / LOADS)))
    return folder


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Where the worker sends lines of its log."""
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def worker(waiting_model: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A worker's URL from the moment it listens; its model has not been loaded before `waiting_model` may be."""
    environ = clean_environ(
        tmp_path_factory.mktemp("home"),
        MODELYARD_HUB="off",
        PORT="0",
        DEVICE="cpu",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
    )
    models = str(waiting_model.parents[1])
    process = Terminal(environ).start("worker", WAITING, "--models-dir", models, "--allow-unsafe", WAITING)
    try:
        assert process.stdout is not None
        listening = re.search(r"http://\S+(?=;)", process.stdout.readline())
        assert listening is not None
        yield listening[0]
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, said
    finally:
        process.kill()


def health(worker: str) -> httpx.Response:
    """How it is, however long it takes to say so while it imports its libraries."""
    return httpx.get(f"{worker}/health", timeout=DEADLINE_S, verify=PLAIN)


@pytest.fixture
def loaded_worker(worker: str, waiting_model: Path) -> str:
    """The same once its model is loaded."""
    (waiting_model / LOADS).touch()
    wait_until(lambda: health(worker).status_code == 200, DEADLINE_S)
    return worker


def test_worker_is_healthy_only_once_its_model_is_loaded(worker: str, waiting_model: Path) -> None:
    early = health(worker)
    assert early.status_code == 503
    assert early.json()["status"] in ("preparing", "loading")
    refused = httpx.post(f"{worker}/run", json={"text": "Once"}, timeout=DEADLINE_S)
    assert refused.status_code == 503
    assert refused.json()["output"] is None
    (waiting_model / LOADS).touch()
    wait_until(lambda: health(worker).status_code == 200, DEADLINE_S)
    assert health(worker).json()["task"] == "text-generation"


def test_lines_that_the_models_process_logs_are_sent_under_the_workers_name(
    loaded_worker: str, collector: Collector
) -> None:
    def loaded() -> list[dict[str, Any]]:
        return [line for line in collector.lines() if line["body"]["stringValue"].startswith(f"loaded {WAITING} in ")]

    (line,) = wait_until(loaded, DEADLINE_S)
    sent = json.loads(collector.bodies[-1][1])["resourceLogs"][0]["resource"]
    assert attributes_of(line) == {
        "logger": "modelyard.worker.life",
        "replica_id": attributes_of(sent)["service.instance.id"],
    }
    assert line["severityText"] == "INFO"


def test_worker_answers_like_v2(loaded_worker: str) -> None:
    body = {"text": "Once", "params": {"max_new_tokens": 12}}
    whole = httpx.post(f"{loaded_worker}/run", json=body, timeout=DEADLINE_S)
    assert whole.status_code == 200
    assert whole.json()["error"] is None
    with httpx.stream("POST", f"{loaded_worker}/run", json={**body, "stream": True}, timeout=DEADLINE_S) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        pieces = list(response.iter_text())
    assert len(pieces) > 1
    assert "".join(pieces) == whole.json()["output"]


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "words"),
    [
        ("POST", "/run", '{"txt": "Once"}', 422, "txt: got 'Once'"),
        ("POST", "/run", '{"text": "Once", "params": {"max_new_tokens": -1}}', 422, "params.max_new_tokens: got -1"),
        ("POST", "/run", "{", 400, "not valid JSON"),
        ("GET", "/elsewhere", None, 404, "POST /run and GET /health"),
    ],
)
def test_worker_says_what_is_wrong(
    loaded_worker: str, method: str, path: str, content: str | None, status: int, words: str
) -> None:
    answer = httpx.request(method, loaded_worker + path, content=content, timeout=DEADLINE_S)
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert answer.json()["output"] is None


def test_worker_of_a_model_that_is_not_there_ends_with_the_reason(alone: Terminal) -> None:
    done = alone.run("worker", "tiny/gtp2", PORT="0")
    assert done.returncode == 1
    assert "error: There is no model tiny/gtp2" in done.stderr


def test_worker_ends_with_the_reason_when_its_model_does_not_fit(alone: Terminal, tmp_path: Path) -> None:
    from tests.builders.sized import text_classifier

    folder = tmp_path / "large"
    text_classifier(folder, hidden_size=256, num_hidden_layers=1, num_attention_heads=4, vocab_size=60_000)  # 65 MB
    process = alone.start("worker", str(folder), "--memory-gb", "0.02", "--port", "0", "--log-format", "json")
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 1
    logged = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert "modelyard.worker.life" in {line["logger"] for line in logged}, said
    assert re.search(r"^error: .*memory", said, re.IGNORECASE | re.MULTILINE), said


def test_serve_announces_where_it_is_its_key_and_a_line_that_works(alone: Terminal, tmp_path: Path) -> None:
    process = alone.start("serve", "--port", "0", "--data-dir", str(tmp_path / "data"))
    try:
        assert process.stdout is not None
        said = ""
        while "Try:" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        line = process.stdout.readline().strip()
        key = re.search(r"Your API key: (\S+)", said)
        assert key is not None
        assert "shown once" in said
        assert str(tmp_path / "data") in said
        assert GPT2 in said
        done = subprocess.run(["sh", "-c", f"{line} -sS"], capture_output=True, text=True, check=True)
        assert json.loads(done.stdout)["error"] is None
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0, log
    finally:
        process.kill()


def test_a_taken_address_is_named_with_the_fix(alone: Terminal, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = alone.problem("serve", "--port", str(taken.getsockname()[1]), "--data-dir", str(tmp_path / "data"))
    assert "--port" in said


def test_demo_shows_the_main_job_and_leaves_nothing(terminal: Terminal) -> None:
    process = terminal.start("demo")
    family = children_of(process)
    shown, said = process.communicate()
    assert process.returncode == 0, said
    assert re.search(r"cold boot: \d+\.\d\d s", shown)
    for title in ("List the models", "Create a cluster", "Run it", "Stream it", "Chat", "Classify", "Scale", "Delete"):
        assert title in shown
    assert shown.count("$ curl") == 10
    assert "\x1b" not in shown, "no colour in a pipe"
    wait_until(lambda: not any(map(is_alive, family)))


def test_a_benchmark_is_told_with_the_memory_of_one_request_at_a_time_and_of_batches() -> None:
    found = {
        "largest": "512 tokens",
        "requestsPerSecond": 2.04,
        "requestsPerSecondBatched": 7.31,
        "batch": 4,
        "ram": 0.5212,
        "ramOneByOne": 0.3087,
        "tokensPerSecond": 91.2,
    }
    assert benchmark_words(found) == (
        "512 tokens: 2.04 requests/s one at a time in 0.31 GB; 7.31 requests/s in batches of 4 in 0.52 GB; "
        "91.2 tokens/s"
    )
    alone = {**found, "batch": 1, "ramOneByOne": None, "tokensPerSecond": None}
    assert benchmark_words(alone) == "512 tokens: 2.04 requests/s one at a time"
    assert benchmark_words(None) == ""
