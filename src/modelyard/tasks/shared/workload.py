"""What a benchmark asks a model: its task's requests, smallest first."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.tasks.base import Size, Task
from modelyard.tasks.body import read


def workload(task: Task, max_length: int | None, library: str = "transformers") -> Sequence[Size]:
    """The task's requests, smallest first, at least one. `max_length` and `library`: as the model's card has them.

    A task that names no sizes is asked its own `example`.
    """
    sizes = (task.pipeline_sizes if library == "diffusers" else None) or task.sizes
    if sizes is not None:
        return sizes(max_length)
    inference = read(task, task.example)
    return [Size("its example", inference.fields, inference.params)]
