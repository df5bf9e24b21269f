"""The v1 document's own examples, word for word, in its order: each command is run by curl against a real server.

Only the host and the key are put in; the model is a tiny one under the document's name.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.serving import KEY, Server, wait_until

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
MODEL = "openai-community/gpt2"

LIST = """curl --location 'https://api.bytez.com/model/list' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json'"""

JOB = """curl --location 'https://api.bytez.com/model/job' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json' \\
--data '{
    "model": "openai-community/gpt2"
}'"""

LOAD = """curl --location 'https://api.bytez.com/model/load' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json' \\
--data '{
    "model": "openai-community/gpt2",
    "concurrency": 1
}'"""

LOAD_FOR_FIVE_MINUTES = """curl --location 'https://api.bytez.com/model/load' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json' \\
--data '{
    "model": "openai-community/gpt2",
    "concurrency": 1,
    "expirationPeriodSeconds": 300
}'"""

STATUS = """curl --location 'https://api.bytez.com/model/status' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json' \\
--data '{
    "model": "openai-community/gpt2"
}'"""

RUN = """curl --location 'https://api.bytez.com/model/run' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json' \\
--data '{
    "model": "openai-community/gpt2",
    "prompt": "Once upon a time there was a",
    "params": {
        "min_length": 30,
        "max_length": 256
    },
    "stream": true
}'"""

INSTANCES = """curl --location 'https://api.bytez.com/model/instances' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json'"""

DELETE = """curl --location 'https://api.bytez.com/model/delete' \\
--header 'Authorization: Key API_KEY' \\
--header 'Content-Type: application/json' \\
--data '{
    "model": "openai-community/gpt2"
}'"""

STATUS_FIELDS = {
    "model": str,
    "status": str,
    "concurrency": int,
    "inferences": int,
    "expirationPeriodSeconds": int,
    "expirationPeriodMinutes": int,
    "expiresAt": str,
    "created": str,
    "modified": str,
}


@pytest.fixture(scope="module")
def seed_server(zoo: Path, shared_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("seed")
    shutil.copytree(zoo / "tiny/gpt2", folder / MODEL)
    with shared_server.with_models(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_loaded(seed_server: Server) -> Iterator[None]:
    yield
    curl(seed_server, DELETE)


def curl(server: Server, command: str) -> str:
    """What the command prints."""
    script = command.replace("https://api.bytez.com", server.url).replace("API_KEY", KEY)
    script = script.replace("curl ", "curl --silent --show-error ", 1)
    return subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, timeout=150).stdout


def ask(server: Server, command: str) -> Any:
    """The JSON that the command prints."""
    return json.loads(curl(server, command))


def until_running(server: Server) -> dict[str, Any]:
    """The status once the model runs."""
    wait_until(lambda: ask(server, STATUS)["status"] == "RUNNING", every_s=0.1)
    return dict(ask(server, STATUS))


def test_list_models_available(seed_server: Server) -> None:
    rows = {row["name"]: row for row in ask(seed_server, LIST)}

    published = rows["EleutherAI/gpt-neo-2.7B"]
    assert (published["requiredRAM"], published["benchmarked"]) == (2.23, True)
    assert {type(row["requiredRAM"]) for row in rows.values()} <= {float, type(None)}
    assert {type(row["benchmarked"]) for row in rows.values()} == {bool}


def test_request_a_model_until_it_is_available(seed_server: Server) -> None:
    first = ask(seed_server, JOB)
    assert first.keys() == {"model", "success", "modified"}
    assert (first["model"], first["success"]) == (MODEL, True)
    assert MOMENT.fullmatch(first["modified"])

    seen = []

    def available() -> bool:
        again = ask(seed_server, JOB)
        seen.append(again)
        assert again["success"] is True, again
        return bool(again["message"] == "Model available")

    wait_until(available, deadline_s=200, every_s=0.1)
    for answer in seen[:-1]:
        assert answer.keys() == {"model", "success", "message", "startTime", "modified"}
        assert (answer["startTime"] is None) == (answer["message"] == "Model is already queued")
    done = seen[-1]
    assert done.keys() == {"model", "success", "message", "startTime", "endTime", "modified"}
    assert done["startTime"] < done["endTime"] == done["modified"]
    row = next(row for row in ask(seed_server, LIST) if row["name"] == MODEL)
    assert row["benchmarked"] is True
    assert ask(seed_server, JOB) == done


def test_load_a_model(seed_server: Server) -> None:
    assert ask(seed_server, LOAD) == {"model": MODEL, "status": "started", "concurrency": 1}


def test_load_a_model_with_an_expiration_period(seed_server: Server) -> None:
    assert ask(seed_server, LOAD_FOR_FIVE_MINUTES) == {"model": MODEL, "status": "started", "concurrency": 1}
    status = until_running(seed_server)
    assert (status["expirationPeriodSeconds"], status["expirationPeriodMinutes"]) == (300, 5)


def test_check_a_loaded_models_status(seed_server: Server) -> None:
    ask(seed_server, LOAD)
    loading = ask(seed_server, STATUS)
    assert loading["status"] in ("STARTING", "INSTANTIATING", "RUNNING")
    status = until_running(seed_server)
    for each in (loading, status):
        assert {name: type(value) for name, value in each.items()} == STATUS_FIELDS
        assert all(MOMENT.fullmatch(each[name]) for name in ("expiresAt", "created", "modified"))
    assert (status["inferences"], status["expirationPeriodSeconds"], status["expirationPeriodMinutes"]) == (0, 1800, 30)


def test_run_a_model(seed_server: Server) -> None:
    ask(seed_server, LOAD)
    text = curl(seed_server, RUN)
    assert text.startswith("Once upon a time there was a")
    assert len(text) > len("Once upon a time there was a")
    assert ask(seed_server, STATUS)["inferences"] == 1


def test_list_all_running_models(seed_server: Server) -> None:
    assert ask(seed_server, INSTANCES) == []
    ask(seed_server, LOAD)
    until_running(seed_server)
    (instance,) = ask(seed_server, INSTANCES)
    assert {name: type(value) for name, value in instance.items()} == STATUS_FIELDS


def test_shut_down_a_loaded_model(seed_server: Server) -> None:
    ask(seed_server, LOAD)
    until_running(seed_server)
    assert ask(seed_server, DELETE) == {"model": MODEL, "status": "stopped"}
    assert ask(seed_server, INSTANCES) == []
    assert ask(seed_server, DELETE) == {"model": MODEL, "status": "stopped"}
