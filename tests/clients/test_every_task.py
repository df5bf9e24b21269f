"""The newest published clients run every task, by their own way of passing input: the wild card `input`."""

import json
from typing import Any

import httpx
import msgspec
import pytest

from modelyard.tasks.base import Task
from modelyard.tasks.registry import TASKS
from tests.clients.programs import run_node, run_python
from tests.serving import REQUEST_S, Server


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
