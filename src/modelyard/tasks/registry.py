"""Every task there is, in one table. To add one: write its file, then name it here."""

from __future__ import annotations

import difflib

from modelyard.errors import NotFound
from modelyard.tasks import (
    chat,
    feature_extraction,
    fill_mask,
    question_answering,
    sentence_similarity,
    summarization,
    text2text_generation,
    text_classification,
    text_generation,
    token_classification,
    translation,
    zero_shot_classification,
)
from modelyard.tasks.base import Task

TASKS: tuple[Task, ...] = (
    text_generation.TASK,
    chat.TASK,
    text2text_generation.TASK,
    summarization.TASK,
    translation.TASK,
    fill_mask.TASK,
    text_classification.TASK,
    token_classification.TASK,
    question_answering.TASK,
    zero_shot_classification.TASK,
    feature_extraction.TASK,
    sentence_similarity.TASK,
)

_BY_ID = {task.id: task for task in TASKS}


def find_task(task_id: str) -> Task | None:
    """The task, or None."""
    return _BY_ID.get(task_id)


def get_task(task_id: str) -> Task:
    """The task. Raises NotFound, with the nearest names."""
    task = find_task(task_id)
    if task is None:
        near = difflib.get_close_matches(task_id, _BY_ID, n=3) or list(_BY_ID)
        raise NotFound(f"No task is called {task_id!r}. Did you mean {', '.join(near)}?", nearest=near)
    return task
