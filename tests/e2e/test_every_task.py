"""Every task of the registry, end to end: HTTP → worker → real model → the documented output."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from modelyard.tasks.base import Task
from modelyard.tasks.registry import TASKS, get_task
from tests.serving import REQUEST_S, Server

MEDIA_TYPES = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}


@pytest.fixture(scope="module")
def task_server(task_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serves a model of every task."""
    with Server(tmp_path_factory.mktemp("every-task"), task_zoo) as running:
        yield running


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)
def test_the_tasks_example_runs_over_http(task_server: Server, task: Task):
    model_id = f"tasks/{task.id}"
    output = task_server.run(model_id, **task.example)
    if task.makes is None:
        msgspec.convert(output, task.output)
    else:
        fetched = httpx.get(output, timeout=REQUEST_S)  # without a key: the name alone is the secret
        assert fetched.status_code == 200
        assert fetched.headers["content-type"] == MEDIA_TYPES[task.makes]
        assert fetched.content
        bare = task_server.post(model_id, **task.example, json=False)  # the bytes themselves
        assert bare.status_code == 200, bare.text
        assert bare.headers["content-type"] == MEDIA_TYPES[task.makes]
        assert "inference-cost" in bare.headers
    task_server.delete(model_id)


def test_a_stream_of_a_diffusion_tells_its_steps_and_then_the_url(task_server: Server):
    task = get_task("text-to-image")
    body = {**task.example, "params": {**task.example.get("params", {}), "num_inference_steps": 3}, "stream": True}
    with task_server.client.stream("POST", "/models/v2/tasks/text-to-image", json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = b"".join(response.iter_raw()).decode().split("\n")
    assert lines[:-1] == ["step 1/3", "step 2/3", "step 3/3"]
    assert httpx.get(lines[-1], timeout=REQUEST_S).headers["content-type"] == "image/png"
    task_server.delete("tasks/text-to-image")


def test_every_task_of_the_contract_is_registered(task_server: Server):
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
    assert set(task_server.client.get("/models/v2/list/tasks").json()["output"]) == promised
