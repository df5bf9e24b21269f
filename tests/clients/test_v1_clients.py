"""The published clients of v1, unmodified: list, load, run, stream, stop."""

from typing import Any

import pytest

from tests.clients.programs import run_node, run_python
from tests.plugin import ZOO
from tests.serving import Server

GREEDY = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}


@pytest.fixture(autouse=True)
def nothing_loaded(dev_server: Server) -> None:
    """These clients load models, and list what is."""
    for cluster in dev_server.clusters():
        dev_server.delete(cluster["modelId"])


def check(server: Server, told: dict[str, Any]) -> None:
    """What both clients must have been told."""
    assert all(answer["success"] for answer in told["processed"])
    assert told["processed"][-1]["message"] == "Model available"
    listed = {model["name"]: model for model in told["models"]}
    assert listed.keys() >= set(ZOO)
    assert listed[told["processed"][0]["model"]]["benchmarked"] is True
    assert "tiny/chat" in [model["name"] for model in told["chat models"]]
    assert {model["task"] for model in told["chat models"]} == {"chat"}
    assert told["status"]["status"] == "RUNNING"
    assert told["status"]["concurrency"] == 1
    assert [each["model"] for each in told["instances"]] == ["tiny/gpt2"]
    story = server.run("tiny/gpt2", text="Once upon a time", params=GREEDY)
    assert told["run"] == {"output": [{"generated_text": story}]}
    assert told["stream"].replace("\n", "") == story.replace("\n", "")
    assert "/model/load" in told["not loaded"]
    assert told["stop"] == {"model": "tiny/gpt2", "status": "stopped"}
    assert told["instances after"] == []


def test_python_client(dev_server: Server):
    told = run_python("v1_client.py", "0.2.26", dev_server.port)
    assert told["loaded"] is told["loaded again"] is None
    check(dev_server, told)


def test_javascript_client(dev_server: Server):
    told = run_node("v1_client.mjs", "bytez-0.4.2", dev_server.port)
    check(
        dev_server,
        {
            **told,
            "chat models": told["chatModels"],
            "not loaded": told["notLoaded"]["error"],
            "instances after": told["instancesAfter"],
        },
    )
