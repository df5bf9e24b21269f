"""visual-question-answering: answers a question about an image, by choosing among known answers (ViLT) or by writing
one (BLIP).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.media.images import decode_image
from modelyard.tasks.base import Call, Task
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.dialogue import encode, turn_ends
from modelyard.tasks.shared.generation import Prompt, write
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs, attempt
from modelyard.tasks.shared.lengths import media_size
from modelyard.tasks.shared.scores import best_labels, sigmoid
from modelyard.tasks.shared.sounds import forward_alike


class VisualQuestionAnsweringInputs(ImageInputs, frozen=True, kw_only=True):
    """An image, and a question about it."""

    question: Annotated[str, Meta(min_length=1, description="what to find out about the image")]


class VisualQuestionAnsweringParams(GenerationParams, frozen=True, kw_only=True):
    """How many answers; the other settings apply to models that write their answer."""

    top_k: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(
            description="models that choose: how many answers, best first; 5 by default; models that write: sample "
            "among the k likeliest tokens"
        ),
    ] = None


class VisualAnswer(msgspec.Struct, frozen=True):
    """An answer."""

    score: Annotated[
        float | None, Meta(description="how well it fits, 0 to 1; null from models that write their answer")
    ]
    answer: Annotated[str, Meta(description="its text")]


VisualQuestionAnsweringOutput = list[VisualAnswer]
"""The answers, best first; one from models that write, or as many as num_return_sequences asks for."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Answers each question."""
    rows = [attempt(see, model, call) for call in calls]
    return write_answers(model, calls, rows) if writes(model) else choose_answers(model, calls, rows)


def writes(model: Model) -> bool:
    """Whether the model writes its answer; otherwise it chooses one of its labels."""
    return bool(model.config["model_type"] != "vilt")


def see(model: Model, call: Call[VisualQuestionAnsweringInputs, Any]) -> dict[str, Array]:
    """The model's arguments for one call, a batch of one. Raises InvalidRequest."""
    question = call.inputs.question
    arrays = encode(model, question, images=[decode_image(call.inputs.media)], limit=model.max_length)
    return {name: array for name, array in arrays.items() if name != "token_type_ids" or not writes(model)}


def choose_answers(model: Model, calls: Sequence[Call[Any, Any]], rows: Sequence[Any]) -> list[Any]:
    """The likeliest of the model's labels; several may be right, so each has its own probability."""
    logits = iter(forward_alike(model, [row for row in rows if isinstance(row, dict)]))
    answers: list[Any] = []
    for call, row in zip(calls, rows, strict=True):
        if isinstance(row, dict):
            labels = best_labels(sigmoid(next(logits)), model.labels, call.params.top_k or 5)
            answers.append([VisualAnswer(label.score, label.label) for label in labels])
        else:
            answers.append(row)
    return answers


def write_answers(model: Model, calls: Sequence[Call[Any, Any]], rows: Sequence[Any]) -> list[Any]:
    """The model's own words."""
    prompts = [
        Prompt(call, {}, media=row) if isinstance(row, dict) else row for call, row in zip(calls, rows, strict=True)
    ]
    ends = (model.tokenizer.sep_token_id,) if model.tokenizer.sep_token_id is not None else turn_ends(model)
    answers: list[Any] = []
    for text in write(model, prompts, left=True, stop_token_ids=ends):
        if isinstance(text, str | list):
            texts = [text] if isinstance(text, str) else text
            answers.append([VisualAnswer(None, one.strip()) for one in texts])
        else:
            answers.append(text)
    return answers


TASK = Task(
    id="visual-question-answering",
    summary="Answer a question about an image.",
    inputs=VisualQuestionAnsweringInputs,
    params=VisualQuestionAnsweringParams,
    output=VisualQuestionAnsweringOutput,
    run=run,
    heads=("visual-question-answering",),
    example={"base64": EXAMPLE, "question": "What colour is it?"},
    media="image",
    wildcard="url",
    max_batch=8,
    length=lambda call: media_size(call.inputs.media) + len(call.inputs.question),
    sizes=sizes.images_with_a_question,
)
