"""What the texts of these tests are, what the library says of them, and when two answers are the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from modelyard.tasks.base import Task
from modelyard.tasks.model import Model
from tests.builders.fixtures import Ask
from tests.builders.reference import library_model

TEXTS = ["I love this film!", "no", "A long journey home, and a wonderful story about friendship."]


def library_logits(model: Model, auto: Any, *texts: Any) -> Any:
    library = library_model(auto, model.path)
    with torch.inference_mode():
        return library(**model.tokenizer(*texts, return_tensors="pt", truncation=True, max_length=64)).logits[0]


def assert_close(one: Any, other: Any) -> None:
    if isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_close(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_close(left, right)
    else:
        assert one == other


def assert_batch_and_list_answer_as_one_by_one(
    ask: Ask, task: Task, model: Model, bodies: list[dict[str, Any]]
) -> None:
    alone = [ask(task, model, body) for body in bodies]
    assert_close(ask(task, model, *bodies), alone)
    assert_close(ask(task, model, {**bodies[0], "text": [body["text"] for body in bodies]}), alone)
