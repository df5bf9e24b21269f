"""Every task there is: ours in one table, and those of other packages.

To add one to ours: write its file, then name it here. A package of its own adds one without touching ours, by an entry
point in the group `modelyard.tasks` that leads to a `Task`.
"""

from __future__ import annotations

import difflib
import logging
from importlib.metadata import entry_points

from modelyard.errors import NotFound
from modelyard.tasks import (
    audio_classification,
    audio_text_to_text,
    automatic_speech_recognition,
    chat,
    depth_estimation,
    document_question_answering,
    feature_extraction,
    fill_mask,
    image_classification,
    image_feature_extraction,
    image_segmentation,
    image_text_to_text,
    image_to_image,
    image_to_text,
    image_to_video,
    mask_generation,
    object_detection,
    question_answering,
    sentence_similarity,
    summarization,
    text2text_generation,
    text_classification,
    text_generation,
    text_ranking,
    text_to_audio,
    text_to_image,
    text_to_speech,
    text_to_video,
    token_classification,
    translation,
    unconditional_image_generation,
    video_classification,
    video_text_to_text,
    video_to_video,
    visual_question_answering,
    zero_shot_classification,
    zero_shot_image_classification,
    zero_shot_object_detection,
)
from modelyard.tasks.base import Task

log = logging.getLogger(__name__)

GROUP = "modelyard.tasks"

OURS: tuple[Task, ...] = (
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
    text_ranking.TASK,
    image_classification.TASK,
    object_detection.TASK,
    image_segmentation.TASK,
    depth_estimation.TASK,
    zero_shot_image_classification.TASK,
    zero_shot_object_detection.TASK,
    image_feature_extraction.TASK,
    mask_generation.TASK,
    audio_classification.TASK,
    automatic_speech_recognition.TASK,
    image_to_text.TASK,
    image_text_to_text.TASK,
    text_to_image.TASK,
    image_to_image.TASK,
    unconditional_image_generation.TASK,
    text_to_video.TASK,
    image_to_video.TASK,
    video_to_video.TASK,
    text_to_speech.TASK,
    text_to_audio.TASK,
    visual_question_answering.TASK,
    document_question_answering.TASK,
    video_classification.TASK,
    video_text_to_text.TASK,
    audio_text_to_text.TASK,
)


def added_tasks(taken: frozenset[str]) -> tuple[Task, ...]:
    """The tasks that other installed packages add. One that cannot be had is left out, and the log says why.

    `taken`: ids that are spoken for; the first package that brings another keeps it.
    """
    added: dict[str, Task] = {}
    for entry in entry_points(group=GROUP):
        try:
            task = entry.load()
        except Exception:  # another package's code may raise anything; ours must still start
            log.exception("the task %s of %s cannot be imported", entry.name, entry.value)
            continue
        if not isinstance(task, Task) or task.id in taken or task.id in added:
            log.error("%s is left out: it is no Task, or its id is taken", entry.value)
            continue
        added[task.id] = task
    return tuple(added.values())


TASKS: tuple[Task, ...] = (*OURS, *added_tasks(frozenset(task.id for task in OURS)))

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
