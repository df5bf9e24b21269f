"""What a benchmark asks: legal for every task, answered by real models, and always the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalog.inspection import inspect_folder
from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.tasks.base import Size, Task
from modelyard.tasks.body import to_call
from modelyard.tasks.registry import OURS, TASKS, get_task
from modelyard.tasks.shared import samples
from modelyard.tasks.shared.sizes import new_tokens
from modelyard.tasks.shared.workload import workload
from tests.builders.fixtures import FAMILY_OF_TASK, Load

IN_TWO_WAYS = {"image-to-image", "mask-generation"}
"""Tasks whose models answer one kind of request and refuse the other."""
every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)


@every_task
@pytest.mark.parametrize("max_length", [None, 16, 512, 100_000])
def test_every_request_is_legal(task: Task, max_length: int | None) -> None:
    sizes = workload(task, max_length)
    assert sizes
    assert len({size.name for size in sizes}) == len(sizes)
    for size in sizes:
        call = to_call(task, size.fields, size.params)
        assert task.max_batch == 1 or task.batch_key(call) == task.batch_key(to_call(task, size.fields, size.params))


@every_task
def test_requests_grow(task: Task) -> None:
    lengths = [task.length(to_call(task, size.fields, size.params)) for size in workload(task, 512)]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize("task", [task for task in TASKS if task.id not in IN_TWO_WAYS], ids=lambda task: task.id)
def test_a_tiny_model_answers_every_request(task: Task, load: Load, model_folder: Callable[[str], Path]) -> None:
    model = load(FAMILY_OF_TASK[task.id], task.heads[0])
    max_length = inspect_folder(model_folder(FAMILY_OF_TASK[task.id])).max_length
    for size in workload(task, max_length):
        (answer,) = task.run(model, [to_call(task, size.fields, size.params)])
        assert not isinstance(answer, ModelyardError), f"{size.name}: {answer}"


@pytest.mark.parametrize(("family", "answered"), [("image_to_image", 0), ("inpainting", 1)])
def test_models_that_change_images_answer_the_one_request_and_those_that_fill_in_the_other(
    load: Load, family: str, answered: int
) -> None:
    task = get_task("image-to-image")
    calls = [to_call(task, size.fields, size.params) for size in workload(task, None)]
    answers = task.run(load(family, "image-pipeline"), calls)
    assert not isinstance(answers[answered], ModelyardError), answers
    refusal = answers[1 - answered]
    assert isinstance(refusal, InvalidRequest)
    assert refusal.data["field"] == "mask"


def test_each_of_our_tasks_has_sizes_of_its_own() -> None:
    assert all(task.sizes for task in OURS)


def test_a_task_of_another_package_is_asked_its_example() -> None:
    task = replace(get_task("text-classification"), id="sentiment", sizes=None)
    assert workload(task, None) == [Size("its example", {"text": "I love this film!"}, {})]


def test_texts_reach_the_models_limit_and_no_further() -> None:
    task = get_task("text-classification")
    assert [size.tokens for size in workload(task, None)] == [16, 128, 512]
    assert [size.tokens for size in workload(task, 256)] == [16, 128, 256]
    assert [size.tokens for size in workload(task, 8192)] == [16, 128, 512]


def test_prompts_leave_room_for_the_answer() -> None:
    task = get_task("text-generation")
    for max_length in (8, 64, 128, 1024):
        for size in workload(task, max_length):
            assert size.tokens is not None
            assert size.params["max_new_tokens"] == new_tokens(max_length)
            assert size.tokens + new_tokens(max_length) <= max_length


def test_diffusion_of_sound_is_asked_few_steps() -> None:
    (size,) = workload(get_task("text-to-audio"), None, "diffusers")
    assert size.params["num_inference_steps"] == 2


def test_the_passage_is_no_repeated_word() -> None:
    text = samples.words(512).split()
    assert len(text) == 512
    assert len(set(text[:300])) > 150


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (samples.image, (64, 48)),
        (samples.page, (96, 128, "one two three")),
        (samples.sound, (0.5,)),
        (samples.video, (4, 64, 48)),
    ],
)
def test_samples_are_always_the_same(make: Any, arguments: tuple[Any, ...]) -> None:
    assert make.__wrapped__(*arguments) == make.__wrapped__(*arguments)


def test_a_model_that_is_pointed_at_answers_points_and_refuses_names(load: Load) -> None:
    task = get_task("mask-generation")
    model = load(FAMILY_OF_TASK[task.id], task.heads[0])
    answers = {}
    for size in workload(task, None):
        (answers[size.name],) = task.run(model, [to_call(task, size.fields, size.params)])
    refused = {name for name, answer in answers.items() if isinstance(answer, ModelyardError)}
    assert refused == {name for name in answers if name.endswith("a name")}
    assert len(refused) == len(answers) / 2
