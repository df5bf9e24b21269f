"""The hosted service's published clients, unmodified, against a real server."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from tests.clients.programs import run_node, run_python
from tests.plugin import ZOO
from tests.serving import Server

GREEDY = {"max_new_tokens": 8, "do_sample": False}


def check_inference(server: Server, told: dict) -> None:
    """The answers are those of the server itself; errors are its sentences."""
    expected = server.run("tiny/gpt2", text="the cat", params=GREEDY)
    assert told["text"] == [expected, None]
    assert told["stream"] == expected.replace("\n", "") or told["stream"] == expected
    chat, error = told["chat"]
    assert error is None
    assert chat == server.run("tiny/chat", text="hello", params=GREEDY)
    assert {"label", "score"} == told["classify"][0][0].keys()
    assert isinstance(told["embed"][0][0], float)
    assert set(told["labels"][0]["labels"]) == {"animal", "car"}
    assert told["question"][0].keys() == {"score", "start", "end", "answer"}
    for name, word in (("wrong params", "params.colour"), ("unknown", "tiny/gpt2")):
        output, error = told[name]
        assert output is None
        assert word in error


@pytest.fixture(scope="module")
def told_by(dev_server: Server) -> Callable[[str], Any]:
    """What the Python client of a version tells, which runs once."""
    return cache(lambda version: run_python("python_client.py", version, dev_server.port))


@pytest.mark.parametrize("version", ["1.0.4", "1.0.10", "3.0.1"])
def test_python_client_lists_runs_and_streams(dev_server: Server, told_by: Callable[[str], Any], version: str):
    told = told_by(version)
    check_inference(dev_server, told["inference"])
    tasks, error = told["lists"]["tasks"]
    assert error is None
    assert "chat" in tasks
    assert {model["modelId"] for model in told["lists"]["models"][0]} >= set(ZOO)
    assert {model["task"] for model in told["lists"]["chat models"][0]} == {"chat"}
    assert "tiny/chat" in [model["modelId"] for model in told["lists"]["chat models"][0]]
    assert told["stranger"][0] is None
    assert "key" in told["stranger"][1]


def test_python_client_creates_reads_updates_and_deletes_clusters(dev_server: Server, told_by: Callable[[str], Any]):
    told = told_by("1.0.4")["clusters"]
    assert told["create"] == ["Loading", None]
    assert told["read"]["status"] == "running"
    assert told["read"]["capacity"] == {"min": 1, "desired": 1, "max": 2}
    cluster, error = told["update"]
    assert error is None
    assert cluster["capacity"]["desired"] == 2
    assert "tiny/gpt2" in [each["modelId"] for each in told["clusters"][0]]
    assert told["delete"] == ["Deleted", None]
    assert told["gone"][0] is None
    assert "tiny/gpt2" in told["gone"][1]


@pytest.mark.parametrize("package", ["bytez-1.1.18", "bytez-3.0.0"])
def test_javascript_client_lists_runs_and_streams(dev_server: Server, package: str):
    told = run_node("javascript_client.mjs", package, dev_server.port)
    pairs = {name: [each["output"], each["error"]] for name, each in told.items() if isinstance(each, dict)}
    check_inference(dev_server, {**pairs, "stream": told["stream"], "wrong params": pairs["wrongParams"]})
    assert "chat" in told["tasks"]["output"]
    assert {model["modelId"] for model in told["models"]["output"]} >= set(ZOO)
    assert {model["task"] for model in told["chatModels"]["output"]} == {"chat"}
    assert "tiny/chat" in [model["modelId"] for model in told["chatModels"]["output"]]
    assert pairs["stranger"][0] is None
    assert "key" in pairs["stranger"][1]
