"""Commands against a running server with real models."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Inside, Terminal, clean_environ
from tests.serving import ENDLESS, KEY, Server, wait_until

GPT2 = "tiny/gpt2"


@pytest.fixture
def shell(server: Server, tmp_path: Path) -> Terminal:
    """A terminal whose commands ask the test server."""
    return Terminal(clean_environ(tmp_path, MODELYARD_URL=server.url, MODELYARD_API_KEY=KEY))


@pytest.fixture
def on_server(inside: Inside, server: Server) -> Inside:
    """The same in this process."""
    return Inside({**inside.environ, "MODELYARD_URL": server.url, "MODELYARD_API_KEY": KEY})


@pytest.fixture(scope="module", autouse=True)
def nothing_loaded(server: Server) -> Iterator[None]:
    """In the end."""
    yield
    server.delete(GPT2)


@pytest.fixture
def cluster(server: Server) -> str:
    """A model with a ready replica, which stays for the next test."""
    if server.client.get(f"/models/v2/{GPT2}").status_code == 404:
        server.put(GPT2)
    server.wait_for(GPT2, ready=1)
    return GPT2


def test_ls_shows_the_servers_models(on_server: Inside) -> None:
    models = {model["modelId"]: model for model in json.loads(on_server.ok("ls", "--json"))}
    assert models[GPT2]["task"] == "text-generation"
    lines = on_server.ok("ls", "--task", "chat", "TINY/").splitlines()
    assert lines[0].split() == ["MODEL", "TASK", "PARAMS", "RAM", "KNOWN", "LICENCE", "PROBLEM"]
    assert [line.split()[0] for line in lines[1:]] == ["tiny/chat"]
    assert "estimated" in lines[1]


def test_ls_shows_only_models_that_are_here_where_that_is_asked(on_server: Inside) -> None:
    every = {model["modelId"]: model["source"] for model in json.loads(on_server.ok("ls", "--json"))}
    here = {model["modelId"]: model["source"] for model in json.loads(on_server.ok("ls", "--here", "--json"))}
    assert here == {name: source for name, source in every.items() if name in here}
    assert GPT2 in here
    assert "published" in every.values()
    assert "published" not in here.values()


def test_ls_reads_on_until_it_has_what_was_asked_for(on_server: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    every = [model["modelId"] for model in json.loads(on_server.ok("ls", "--json"))]
    monkeypatch.setattr("modelyard.cli.client.MAX_PAGE", 7)

    assert [model["modelId"] for model in json.loads(on_server.ok("ls", "--json"))] == every
    assert [model["modelId"] for model in json.loads(on_server.ok("ls", "--json", "--limit", "9"))] == every[:9]
    assert len(every) > 21
    assert "no such models" in on_server.run("ls", "no-such-model").stderr


def test_ps_shows_load_and_when_a_cluster_idles_out(on_server: Inside, cluster: str) -> None:
    (shown,) = json.loads(on_server.ok("ps", "--json"))
    assert (shown["modelId"], shown["status"], shown["ready"]) == (cluster, "running", 1)
    line = next(line for line in on_server.ok("ps").splitlines() if line.startswith(cluster))
    assert "running" in line
    assert "0/1/1" in line
    assert "in 30 min" in line


def test_stop_switches_off_and_start_on_again(on_server: Inside, server: Server, cluster: str) -> None:
    on_server.ok("stop", cluster)
    server.wait_for(cluster, instances=0)
    assert "is off" in on_server.problem("run", cluster, "Once")
    on_server.ok("start", cluster)
    server.wait_for(cluster, ready=1)


def test_start_creates_and_rm_deletes_a_cluster(on_server: Inside, server: Server) -> None:
    on_server.ok("start", "tiny/classifier")
    server.wait_for("tiny/classifier", ready=1)
    on_server.ok("rm", "tiny/classifier")
    assert "tiny/classifier" not in on_server.ok("ps")
    assert "You have no cluster of tiny/classifier" in on_server.problem("rm", "tiny/classifier")


def test_events_tell_what_happened(on_server: Inside, cluster: str) -> None:
    kinds = [line.split()[1] for line in on_server.ok("events", cluster).splitlines()]
    assert kinds[-1] == "ready"
    assert len(on_server.ok("events", cluster, "--limit", "1").splitlines()) == 1
    last = json.loads(on_server.ok("events", cluster, "--json").splitlines()[-1])
    assert last["kind"] == "ready"


def test_events_are_followed_until_interrupted(shell: Terminal, server: Server, cluster: str) -> None:
    process = shell.start("events", cluster, "--follow", "--limit", "1")
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    server.client.patch(f"/models/v2/{cluster}", json={"timeout": 1234})
    assert "timeout 1234 s" in process.stdout.readline()
    process.terminate()
    process.communicate()


def test_logs_are_what_the_replica_wrote(on_server: Inside, cluster: str) -> None:
    assert f"loaded {cluster}" in on_server.ok("logs", cluster)
    assert "No replica of tiny/t5" in on_server.problem("logs", "tiny/t5")


def test_run_prints_text_and_other_outputs_as_json(
    shell: Terminal, on_server: Inside, server: Server, cluster: str
) -> None:
    whole = server.run(cluster, text="Once", params={"max_new_tokens": 6})
    words = ["run", cluster, "-p", "max_new_tokens=6"]
    assert shell.ok(*words, "Once").removesuffix("\n") == whole
    assert on_server.ok(*words, "-", "--no-stream", typed="Once\n").removesuffix("\n") == whole
    assert on_server.ok(*words, typed="Once\n").removesuffix("\n") == whole
    assert json.loads(on_server.ok(*words, "Once", "--json")) == whole
    labels = json.loads(on_server.ok("run", "tiny/classifier", "a wonderful story"))
    assert {each["label"] for each in labels} == {"negative", "neutral", "positive"}
    server.delete("tiny/classifier")


def test_run_takes_json_input(on_server: Inside, server: Server) -> None:
    asked = json.dumps({"question": "Who lives in Paris?", "context": "Angela lives in Paris."})
    assert json.loads(on_server.ok("run", "tiny/qa", asked)).keys() == {"score", "start", "end", "answer"}
    server.delete("tiny/qa")


def test_a_stream_arrives_in_pieces_and_interrupting_it_cancels_the_work(shell: Terminal, server: Server) -> None:
    model_id, endless = ENDLESS
    words = [word for name, value in endless.items() for word in ("-p", f"{name}={json.dumps(value)}")]
    process = shell.start("run", model_id, "Once", *words)
    assert process.stdout is not None
    assert all(os.read(process.stdout.fileno(), 65536) for _ in range(4))
    assert process.poll() is None, "all of it had come"
    process.send_signal(2)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in said
    wait_until(lambda: server.load() == (0, 0))
    server.delete(model_id)


def test_wrong_params_are_named(on_server: Inside, cluster: str) -> None:
    assert "params.max_new_tokens: got 'many'" in on_server.problem("run", cluster, "Once", "-p", "max_new_tokens=many")
    assert "--param: got 'x'" in on_server.problem("run", cluster, "Once", "-p", "x")


def test_an_unknown_model_gets_the_nearest_names_and_the_fix(on_server: Inside) -> None:
    said = on_server.problem("run", "tiny/gtp2", "Once")
    assert "Did you mean tiny/gpt2" in said
    assert "fix: modelyard ls" in said


def test_a_wrong_key_is_told_how_to_get_one(on_server: Inside) -> None:
    assert "modelyard keys create" in on_server.problem("ps", MODELYARD_API_KEY="wrong")


def test_without_a_key_the_local_servers_own_is_sent(on_server: Inside, server: Server) -> None:
    done: subprocess.CompletedProcess[str] = on_server.run(
        "ps", MODELYARD_API_KEY="", MODELYARD_DATA_DIR=str(server.data_dir)
    )
    assert done.returncode == 0, done.stderr


def test_the_server_here_is_asked_at_the_port_of_the_settings(on_server: Inside, server: Server, cluster: str) -> None:
    shown = json.loads(on_server.ok("ps", "--json", MODELYARD_URL="", MODELYARD_PORT=str(server.port)))
    assert [each["modelId"] for each in shown] == [cluster]


def test_no_server_is_told_how_to_start_one(terminal: Terminal) -> None:
    said = terminal.problem("ps", "--url", "http://127.0.0.1:1")
    assert "No server answers at http://127.0.0.1:1: connection refused" in said
    assert "fix: modelyard serve" in said
