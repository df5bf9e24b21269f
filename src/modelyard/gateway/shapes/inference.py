"""What inference reads and answers, as far as it is the same for every task; the rest is said in each task's file.

Only describes: bodies are read by `tasks.body`, for speed and for the task's own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET

from modelyard.gateway.shapes.base import Answer, Shape, described
from modelyard.media.artefacts import ENDINGS

SCHEMAS = "#/components/schemas/"
TASK_OUTPUT = "TaskOutput"
"""The schema of what a task answers, whichever it is; made of the tasks."""
TASK_PARAMS = "TaskParams"
"""The schema of a task's settings, whichever it is; made of the tasks."""
BINARY = {"type": "string", "format": "binary"}
MADE_TYPES = dict.fromkeys(ENDINGS, BINARY)
"""The content types of files that models make → their schemas."""
URL_BASE64 = "an http(s) URL, a data URL, or base64."


class Inference(Shape, frozen=True, kw_only=True, rename=None):
    """One format for every task; a task reads its own fields and ignores the others."""

    image_url: Annotated[str | None, described(f"The image a task reads: {URL_BASE64}")] = None
    audio_url: Annotated[str | None, described(f"The sound a task reads: {URL_BASE64}")] = None
    video_url: Annotated[str | None, described(f"The video a task reads: {URL_BASE64}")] = None
    url: Annotated[str | None, described(f"The image, sound or video a task reads: {URL_BASE64}")] = None
    base64: Annotated[str | None, described(f"The image, sound or video a task reads: {URL_BASE64}")] = None
    mask: Annotated[str | None, described(f"Of image-to-image, what to fill in of the image: {URL_BASE64}")] = None
    mask_url: Annotated[str | None, described("The same as mask.")] = None
    control_image: Annotated[str | None, described(f"Of image-to-image, what to follow: {URL_BASE64}")] = None
    control_image_url: Annotated[str | None, described("The same as control_image.")] = None
    last_image: Annotated[str | None, described(f"Of image-to-video, what it ends with: {URL_BASE64}")] = None
    last_image_url: Annotated[str | None, described("The same as last_image.")] = None
    input: Annotated[
        Any,
        described(
            "Wild card: a text (for tasks that read media, a URL or base64), a list, or an object whose fields are "
            "spread."
        ),
    ] = None
    prompt: Annotated[str | None, described("The same as text.")] = None
    params: Annotated[Any, described("The task's settings.", **{"$ref": SCHEMAS + TASK_PARAMS})] = msgspec.field(
        default_factory=dict
    )
    stream: Annotated[bool, described("Send the answer as plain text chunks as they are made.")] = False
    models: Annotated[
        list[str] | None, described("Up to 8 models to ask in this order when that of the path cannot answer.")
    ] = None
    timeout: Annotated[
        float | None,
        described("Seconds the request may take in all, as the header x-request-timeout; the lesser holds."),
    ] = None
    json: Annotated[bool, described("False: answer with the file a model made itself, rather than with its URL.")] = (
        True
    )


class V1Inference(Inference, frozen=True, kw_only=True):
    """The same, and which model."""

    model: Annotated[str, described("The model, org/name.")]


class InferenceAnswer(Answer[Any], frozen=True, kw_only=True):
    """What the model answers."""

    output: Annotated[Any, described("Depends on the model's task.", **{"$ref": SCHEMAS + TASK_OUTPUT})]
    provider: Annotated[
        Any, described("Of a closed model: what its provider has answered, as it said it.", type="object")
    ] = UNSET


class PipelineText(Shape, frozen=True, kw_only=True, rename=None):
    """A text as the library's own pipeline for the task gives it: under one of these names."""

    generated_text: Annotated[
        str | Sequence[Any] | msgspec.UnsetType, described("Of chat: the messages that were sent, and the answer.")
    ] = UNSET
    summary_text: Annotated[str | msgspec.UnsetType, described("A summary.")] = UNSET
    translation_text: Annotated[str | msgspec.UnsetType, described("A translation.")] = UNSET


class MadeFile(Shape, frozen=True, kw_only=True, rename=None):
    """A file that a model has made: under one of these names."""

    output_png: Annotated[str | msgspec.UnsetType, described("An image, in base64.")] = UNSET
    output_wav: Annotated[str | msgspec.UnsetType, described("A sound, in base64.")] = UNSET
    output_mp4: Annotated[str | msgspec.UnsetType, described("A video, in base64.")] = UNSET


class V1InferenceAnswer(Shape, frozen=True, kw_only=True):
    """What the model answers, as the library's own pipeline for its task gives it."""

    output: Annotated[
        Any,
        described(
            "Depends on the model's task.",
            anyOf=[
                {"type": "array", "items": {"$ref": SCHEMAS + "PipelineText"}},
                {"$ref": SCHEMAS + "MadeFile"},
                {"$ref": SCHEMAS + TASK_OUTPUT},
            ],
        ),
    ]


class Upload(Shape, frozen=True, kw_only=True, rename=None):
    """One file under any name, and the other fields as text; params as JSON."""

    file: Annotated[str, described("The image, sound or video.", format="binary")]
    text: Annotated[str, described("Beside it, where the task reads text.")] = ""
    params: Annotated[str, described('The task\'s settings, as JSON: {"top_k": 3}.')] = "{}"


class UploadQuery(Shape, frozen=True, kw_only=True):
    """What goes beside a bare file."""

    params: Annotated[str, described("For a body that is a bare file: the task's params, as JSON.")] = "{}"
