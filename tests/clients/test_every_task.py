"""Every task of the registry, end to end: HTTP → worker → real model → the documented output.

The newest published clients run them all too, by their own way of passing input: the wild card `input`. All on one
server, where each model is loaded once.
"""

import json
from typing import Any

import httpx
import msgspec
import pytest

from modelyard.tasks.base import Task
from modelyard.tasks.registry import TASKS, get_task
from tests.clients.programs import run_node, run_python
from tests.serving import REQUEST_S, Server

MEDIA_TYPES = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}


def client_input(task: Task) -> Any:
    """A task's example as such a client passes it: the bare text, URL or messages, or an object of several fields."""
    fields = {name: value for name, value in task.example.items() if name not in ("params", "stream", "json")}
    if len(fields) == 1:
        ((_, value),) = fields.items()
        return value
    return fields or None


def check_every_task(answers: list[Any]) -> None:
    """Each answer has its task's documented shape; media is a URL that can be fetched."""
    failed = {task.id: error for task, (_, error) in zip(TASKS, answers, strict=True) if error is not None}
    assert failed == {}
    for task, (output, _) in zip(TASKS, answers, strict=True):
        if task.makes is None:
            msgspec.convert(output, task.output)
        else:
            assert httpx.get(output, timeout=REQUEST_S).status_code == 200


@pytest.fixture(scope="module")
def asked() -> str:
    """What the programs are told to run, as JSON: [[model id, input, params], ...]."""
    return json.dumps([[f"tasks/{task.id}", client_input(task), task.example.get("params")] for task in TASKS])


def test_python_client_runs_every_task(dev_server: Server, asked: str):
    check_every_task(run_python("every_task.py", "3.0.1", asked))


def test_javascript_client_runs_every_task(dev_server: Server, asked: str):
    check_every_task(run_node("every_task.mjs", "bytez-3.0.0", asked))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_the_tasks_example_runs_over_http(dev_server: Server, task: Task):
    model_id = f"tasks/{task.id}"
    output = dev_server.run(model_id, **task.example)
    if task.makes is None:
        msgspec.convert(output, task.output)
    else:
        fetched = httpx.get(output, timeout=REQUEST_S)  # without a key: the name alone is the secret
        assert fetched.status_code == 200
        assert fetched.headers["content-type"] == MEDIA_TYPES[task.makes]
        assert fetched.content
        bare = dev_server.post(model_id, **task.example, json=False)  # the bytes themselves
        assert bare.status_code == 200, bare.text
        assert bare.headers["content-type"] == MEDIA_TYPES[task.makes]
        assert "inference-cost" in bare.headers


def test_a_stream_of_a_diffusion_tells_its_steps_and_then_the_url(dev_server: Server):
    task = get_task("text-to-image")
    body = {**task.example, "params": {**task.example.get("params", {}), "num_inference_steps": 3}, "stream": True}
    with dev_server.client.stream("POST", "/models/v2/tasks/text-to-image", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = b"".join(response.iter_raw()).decode().split("\n")
    assert lines[:-1] == ["step 1/3", "step 2/3", "step 3/3"]
    assert httpx.get(lines[-1], timeout=REQUEST_S).headers["content-type"] == "image/png"


def test_every_task_of_the_contract_is_registered(dev_server: Server):
    promised = {
        "chat", "image-text-to-text", "audio-text-to-text", "video-text-to-text", "text-generation",
        "text2text-generation", "summarization", "translation", "automatic-speech-recognition", "image-to-text",
        "text-classification", "image-classification", "audio-classification", "video-classification",
        "zero-shot-image-classification", "zero-shot-classification", "token-classification", "fill-mask",
        "question-answering", "document-question-answering", "visual-question-answering", "feature-extraction",
        "sentence-similarity", "text-ranking", "image-feature-extraction", "object-detection",
        "zero-shot-object-detection", "image-segmentation", "depth-estimation", "mask-generation", "text-to-image",
        "image-to-image", "unconditional-image-generation", "text-to-speech", "text-to-audio", "text-to-video",
    }  # fmt: skip
    assert len(promised) == 36
    assert set(dev_server.client.get("/models/v2/list/tasks").json()["output"]) == promised
