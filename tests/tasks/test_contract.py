"""What every task promises, checked for each of them alike."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelyard.errors import InvalidRequest, NotFound
from modelyard.protocol import Outcome
from modelyard.tasks.base import Call, Task, alone
from modelyard.tasks.body import read, spread, to_call
from modelyard.tasks.model import Model
from modelyard.tasks.reference import render, render_list
from modelyard.tasks.registry import TASKS, find_task, get_task
from modelyard.validation import description_of
from tests.builders.fixtures import FAMILY_OF_TASK, Ask, Load

every_task = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.id)


def needed(task: Task) -> Any:
    return [field.name for field in msgspec.structs.fields(task.inputs) if field.required]


@pytest.fixture
def model(task: Task, load: Load) -> Model:
    return load(FAMILY_OF_TASK[task.id], task.heads[0])


@every_task
def test_example_is_answered_in_the_declared_shape(task: Task, model: Model, ask: Ask) -> None:
    body = {**task.example, "params": {"max_new_tokens": 5} if task.streams else task.example.get("params")}
    answer = ask(task, model, body)
    on_the_wire = json.loads(json.dumps(answer))
    assert msgspec.to_builtins(msgspec.convert(on_the_wire, task.output)) == answer


generating_tasks = pytest.mark.parametrize(
    "task", [task for task in TASKS if task.generation], ids=lambda task: task.id
)


@generating_tasks
def test_a_generating_task_declares_what_is_written_and_no_loop_of_its_own(task: Task) -> None:
    assert task.generation is not None
    assert task.run == task.generation.run


@generating_tasks
def test_a_generating_task_says_what_it_took(task: Task, model: Model) -> None:
    assert task.generation is not None
    if task.generation.applies(model):
        inference = read(task, {**task.example, "params": {"max_new_tokens": 5}})
        (outcome,) = task.run(model, [to_call(task, inference.fields, inference.params)])
        assert isinstance(outcome, Outcome)
        assert 0 < (outcome.usage.new_tokens or 0) <= 5
        assert outcome.usage.finish_reason in {"stop", "length"}


@every_task
def test_schemas_can_be_written(task: Task) -> None:
    for kind in (task.inputs, task.params, task.output):
        assert json.dumps(msgspec.json.schema(kind))


@every_task
def test_every_input_and_param_is_described(task: Task) -> None:
    for kind in (task.inputs, task.params):
        undescribed = [name for name in kind.__struct_encode_fields__ if not description_of(kind, name)]
        assert not undescribed


@every_task
def test_unknown_param_is_named(task: Task) -> None:
    with pytest.raises(InvalidRequest, match=r"params\.no_such_param.*one of"):
        read(task, {**task.example, "params": {"no_such_param": 1}})


@every_task
def test_wrong_param_is_named(task: Task) -> None:
    for name in task.params.__struct_fields__:
        with pytest.raises(InvalidRequest) as raised:
            read(task, {**task.example, "params": {name: [{"not": "this"}]}})  # an object may be a JSON schema
        assert raised.value.data["field"].startswith(f"params.{name}")


@every_task
def test_wrong_input_is_named(task: Task) -> None:
    for name in task.inputs.__struct_fields__:
        with pytest.raises(InvalidRequest) as raised:
            read(task, {**task.example, name: 5})
        assert raised.value.data["field"] == name


@pytest.mark.parametrize("task", [task for task in TASKS if needed(task)], ids=lambda task: task.id)
def test_missing_input_is_named(task: Task) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(task, {"params": {}})
    assert raised.value.data["field"] in task.inputs.__struct_fields__


@every_task
def test_other_tasks_fields_are_ignored(task: Task) -> None:
    assert "url" not in read(task, {**task.example, "url": "https://example.org/cat.png"}).fields


@every_task
def test_length_grows_with_the_input(task: Task) -> None:
    def length(factor: int) -> int:
        fields = {name: longer(value, factor) for name, value in task.example.items() if name != "params"}
        inputs = msgspec.convert(spread(task, fields), task.inputs)
        return task.length(Call(inputs=inputs, params=task.params()))

    assert length(10) > length(1) > 0 or task.length is alone


def longer(value: typing.Any, factor: int) -> typing.Any:
    if isinstance(value, str):
        return value * factor
    if isinstance(value, list):
        return [longer(item, factor) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: item * factor if name == "content" else item for name, item in value.items()}


def test_ids_are_unique_and_found() -> None:
    ids = [task.id for task in TASKS]
    assert len(set(ids)) == len(ids)
    assert all(get_task(task_id) is find_task(task_id) for task_id in ids)


def test_unknown_task_gets_the_nearest_names() -> None:
    assert find_task("text-generatoin") is None
    with pytest.raises(NotFound, match="text-generation"):
        get_task("text-generatoin")


@every_task
def test_docs_page_says_what_the_code_does(task: Task) -> None:
    """`python -m modelyard.tasks.reference docs/reference/tasks` brings the pages up to date."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "tasks" / f"{task.id}.md"
    assert page.read_text(encoding="utf-8") == render(task)


def test_the_page_of_all_tasks_says_what_there_is() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "tasks" / "README.md"
    assert page.read_text(encoding="utf-8") == render_list(), "run `python -m modelyard.tasks.reference`"


def test_body_of_another_task_is_told_what_is_not_read() -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}]}
    with pytest.raises(InvalidRequest, match=r"text: missing.*text-generation does not read messages"):
        read(get_task("text-generation"), body)
