"""Our side: the folder inspected, loaded and asked as a worker does, without a server."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import msgspec

from modelyard.catalog.inspection import inspect_folder
from modelyard.protocol import Outcome
from modelyard.tasks.base import Task
from modelyard.tasks.body import read, to_call
from modelyard.tasks.model import Model
from modelyard.tasks.registry import get_task
from modelyard.tasks.shared.concepts import find_detector_pass
from modelyard.tasks.shared.word_boxes import reads_places
from modelyard.worker.runtimes.base import load_model
from tests.coverage.architectures import layouts
from tests.coverage.architectures.comparison import comparable
from tests.coverage.architectures.references import (
    BODIES,
    LEAST_PRESENCE,
    MEDIA,
    SAME,
    THING,
    WRITES_UNASKED,
    target_language,
    video,
)


class NotServed(Exception):
    """What inspection or a task says against the model."""


def ask(head: str, task_id: str, folder: Path) -> tuple[str, Any]:
    """The task that inspection finds, and our answer as plain data. Raises NotServed and what a worker raises."""
    inspection = inspect_folder(folder)
    if inspection.problem:
        raise NotServed(f"inspection: {inspection.problem}")
    task = get_task(inspection.task or "")
    if head not in task.heads:
        raise NotServed(f"found to be for {task.id}, not {task_id}")
    if task.media == "video" and task.id in SAME:
        task = get_task(SAME[task.id])  # which its models serve as well
    model = load_model("transformers", folder, task.heads, device="cpu")
    inference = read(task, make_body(task, model))
    (given,) = task.run(model, [to_call(task, inference.fields, inference.params)])
    output = given.output if isinstance(given, Outcome) else given
    if isinstance(output, Exception):
        raise output
    return task.id, comparable(task.id, msgspec.to_builtins(output))


def make_body(task: Task, model: Model) -> dict[str, Any]:
    """What `model` is asked for `task`, as a client sends it."""
    body = dict(BODIES[SAME.get(task.id, task.id)])
    if task.id in layouts.TASKS and reads_places(model):
        body = layouts.page_body(body)
    if task.id == "fill-mask":
        body["text"] = body["text"].replace("small", model.tokenizer.mask_token)
    if task.id == "translation" and (code := target_language(model.tokenizer)) is not None:
        body["params"] = {**body["params"], "tgt_lang": code}
    if task.id == "image-to-text" and model.config["model_type"] in WRITES_UNASKED:
        del body["text"]
    if task.id == "mask-generation" and find_detector_pass(model) is not None:
        body = {"text": THING, "params": {"threshold": LEAST_PRESENCE}}
    if task.media is not None and not layouts.finds_in_words(task.id, model.config):
        media = video(model.config) if task.media == "video" else MEDIA[task.media]
        body["base64"] = base64.b64encode(media).decode()
    return body
