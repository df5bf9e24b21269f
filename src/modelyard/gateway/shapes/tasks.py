"""Tasks as v2 describes them to programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from modelyard.gateway.shapes.base import Shape, described
from modelyard.media.media import Kind
from modelyard.tasks.base import Task
from modelyard.tasks.hints import FieldKind, Meaning
from modelyard.tasks.reference import as_schemas


class TaskField(Shape, frozen=True, kw_only=True):
    """A field that a form has for a task."""

    name: Annotated[str, described("Under which it is sent.")]
    kind: Annotated[
        FieldKind,
        described(
            "How it is filled in. text: a text; texts: a list of them; messages: a conversation; image, audio, video: "
            "an http(s) URL, a data URL or base64; points: [[x, y], ...], boxes: [[xmin, ymin, xmax, ymax], ...], in "
            "pixels of the image that goes along; switch: true or false; choice: one of choices; json: what its schema "
            "says."
        ),
    ]
    required: Annotated[bool, described("Whether a request needs it.")]
    description: Annotated[str, described("What it is.")]
    default: Annotated[Any, described("What it is when it is not sent; left out where the model decides.")] = UNSET
    choices: Annotated[Sequence[Any] | UnsetType, described("The values it may have.")] = UNSET
    minimum: Annotated[float | UnsetType, described("The least it may be.")] = UNSET
    above: Annotated[float | UnsetType, described("What it must be more than.")] = UNSET
    maximum: Annotated[float | UnsetType, described("The most it may be.")] = UNSET
    below: Annotated[float | UnsetType, described("What it must be less than.")] = UNSET
    step: Annotated[float | UnsetType, described("What it must be a multiple of.")] = UNSET
    most: Annotated[int | UnsetType, described("Of a text, its most characters; of a list, its most items.")] = UNSET
    streams: Annotated[
        bool | UnsetType,
        described("False: a request that sets it is answered whole, not in a stream; else left out."),
    ] = UNSET


class FieldMeaning(Shape, frozen=True, kw_only=True):
    """What a field of an output's record means to somebody who looks at it."""

    means: Annotated[
        Meaning,
        described(
            "score: how well it fits; label: what the score is about; text: what is read; thought: what the model has "
            "written before it answered; start, end: characters of a text that was sent; index: the place in a list "
            "that was sent; time: two numbers, seconds of the sound; box: in pixels of the image; mask: PNG in base64, "
            "white where the thing is; image: PNG in base64; sound: its data in base64, and their media_type. Where "
            "the field holds a list: each of its items."
        ),
    ]
    of: Annotated[str | UnsetType, described("The field of the request that it points into.")] = UNSET


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
    fields: Annotated[Sequence[TaskField], described("What it reads, for a form.")]
    settings: Annotated[Sequence[TaskField], described("Its settings, for a form.")]
    meanings: Annotated[
        Mapping[str, FieldMeaning],
        described("What fields of its output mean, by their names, for whoever draws an answer."),
    ]
    surfaces: Annotated[Sequence[str], described("Paths of other APIs here that ask models of the task.")]


def show_task(task: Task, surfaces: Sequence[str]) -> TaskDescription:
    """A task as v2 describes it. `surfaces`: see TaskDescription."""
    return msgspec.convert({**as_schemas(task), "surfaces": surfaces}, TaskDescription)
