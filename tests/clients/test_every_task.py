"""The tasks of the registry, end to end: HTTP → worker → real model → the documented output.

The newest published clients run them too, by their own way of passing input: the wild card `input`. All on one server,
where each model is loaded once.
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
SHORT = (
    "text-classification", "summarization", "sentence-similarity", "question-answering", "zero-shot-classification",
    "chat", "image-classification", "image-segmentation", "visual-question-answering", "zero-shot-image-classification",
    "audio-classification", "automatic-speech-recognition", "video-classification", "text-to-image", "image-to-image",
    "text-to-speech", "text-to-video", "unconditional-image-generation",
)  # fmt: skip
"""Tasks of every kind of body and of answer. The others are asked in `make verify`; what they answer, in
tests/tasks/test_contract.py too."""
FEW_STEPS = 3
in_verify = pytest.mark.verify(part="clients")


def example(task: Task) -> dict[str, Any]:
    """A task's example; where it is made in steps, in few: they change no answer's shape."""
    body = dict(task.example)
    if "num_inference_steps" in body.get("params", {}):
        body["params"] = {**body["params"], "num_inference_steps": FEW_STEPS}
    return body


def client_input(task: Task) -> Any:
    """A task's example as such a client passes it: the bare text, URL or messages, or an object of several fields."""
    fields = {name: value for name, value in task.example.items() if name not in ("params", "stream", "json")}
    if len(fields) == 1:
        ((_, value),) = fields.items()
        return value
    return fields or None


@pytest.fixture(scope="module", params=[SHORT, pytest.param([task.id for task in TASKS], marks=in_verify)], ids=len)
def tasks(request: pytest.FixtureRequest) -> list[Task]:
    """Those that clients are told to run."""
    return [get_task(task_id) for task_id in request.param]


@pytest.fixture(scope="module")
def asked(tasks: list[Task]) -> str:
    """What the programs are told to run, as JSON: [[model id, input, params], ...]."""
    return json.dumps([[f"tasks/{task.id}", client_input(task), example(task).get("params")] for task in tasks])


def check_answers(tasks: list[Task], answers: list[Any]) -> None:
    """Each answer has its task's documented shape; media is a URL that can be fetched."""
    failed = {task.id: error for task, (_, error) in zip(tasks, answers, strict=True) if error is not None}
    assert failed == {}
    for task, (output, _) in zip(tasks, answers, strict=True):
        if task.makes is None:
            msgspec.convert(output, task.output)
        else:
            assert httpx.get(output, timeout=REQUEST_S).status_code == 200


def test_python_client_runs_tasks_of_every_kind(dev_server: Server, tasks: list[Task], asked: str):
    check_answers(tasks, run_python("every_task.py", "3.0.1", dev_server.port, asked))


def test_javascript_client_runs_tasks_of_every_kind(dev_server: Server, tasks: list[Task], asked: str):
    check_answers(tasks, run_node("every_task.mjs", "bytez-3.0.0", dev_server.port, asked))


@pytest.mark.parametrize(
    "task",
    [pytest.param(task, marks=() if task.id in SHORT else in_verify) for task in TASKS],
    ids=lambda task: task.id,
)
def test_the_tasks_example_runs_over_http(dev_server: Server, task: Task):
    model_id, body = f"tasks/{task.id}", example(task)
    output = dev_server.run(model_id, **body)
    if task.makes is None:
        msgspec.convert(output, task.output)
    else:
        fetched = httpx.get(output, timeout=REQUEST_S)  # without a key: the name alone is the secret
        assert fetched.status_code == 200
        assert fetched.headers["content-type"] == MEDIA_TYPES[task.makes]
        assert fetched.content
        bare = dev_server.post(model_id, **body, json=False)  # the bytes themselves
        assert bare.status_code == 200, bare.text
        assert bare.headers["content-type"] == MEDIA_TYPES[task.makes]
        assert "inference-cost" in bare.headers


def test_a_stream_of_a_diffusion_tells_its_steps_and_then_the_url(dev_server: Server):
    task = get_task("text-to-image")
    body = {**example(task), "stream": True}
    with dev_server.client.stream("POST", "/models/v2/tasks/text-to-image", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = b"".join(response.iter_raw()).decode().split("\n")
    assert lines[:-1] == [f"step {step}/{FEW_STEPS}" for step in range(1, FEW_STEPS + 1)]
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
        "image-to-video", "video-to-video",
    }  # fmt: skip
    assert len(promised) == 38
    assert set(dev_server.client.get("/models/v2/list/tasks").json()["output"]) == promised
