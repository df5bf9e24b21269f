"""Tasks as v2 describes them to programs."""

from __future__ import annotations

from typing import Annotated, Any

from modelyard.gateway.shapes.base import Shape, described
from modelyard.media.media import Kind
from modelyard.tasks.base import Task
from modelyard.tasks.reference import as_schemas


class TaskDescription(Shape, frozen=True, kw_only=True):
    """What a task takes and answers."""

    task: Annotated[str, described("Its name.")]
    summary: Annotated[str, described("What it does, in one sentence.")]
    input: Annotated[dict[str, Any], described("The JSON schema of the fields it reads.")]
    params: Annotated[dict[str, Any], described("The JSON schema of its settings.")]
    output: Annotated[dict[str, Any], described("The JSON schema of its output.")]
    example: Annotated[dict[str, Any], described("A body that it answers.")]
    streams: Annotated[bool, described("Whether it streams its text.")]
    media: Annotated[Kind | None, described("What it reads.")]
    makes: Annotated[Kind | None, described("What it makes.")]


def show_task(task: Task) -> TaskDescription:
    """A task as v2 describes it."""
    return TaskDescription(**as_schemas(task))
