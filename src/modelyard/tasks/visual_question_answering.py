"""visual-question-answering: answers a question about an image, by choosing among known answers (ViLT) or by writing
one (BLIP, GIT, Pix2Struct, models that talk about images).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from modelyard.media.images import decode_image
from modelyard.tasks.base import Call, Task
from modelyard.tasks.hints import means
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.arrays import answer_logits
from modelyard.tasks.shared.chat_template import turn_ends
from modelyard.tasks.shared.generation import Generation, Prompt, Texts, each_sequence
from modelyard.tasks.shared.generation_params import GenerationParams
from modelyard.tasks.shared.image_prompts import encoder_prompt, message_prompt, patches_prompt, question_prompt
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs
from modelyard.tasks.shared.lengths import media_size
from modelyard.tasks.shared.prompts import encode_prompt
from modelyard.tasks.shared.scores import best_labels, sigmoid


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

    score: Annotated[float | None, means("score", "how well it fits, 0 to 1; null from models that write their answer")]
    answer: Annotated[str, means("label", "its text")]


VisualQuestionAnsweringOutput = list[VisualAnswer]
"""The answers, best first; one from models that write, or as many as num_return_sequences asks for."""


def choose_answers(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """The likeliest of the model's labels; several may be right, so each has its own probability."""
    return answer_logits(model, calls, read_image_and_question, lambda call, logits: best_answers(model, call, logits))


def best_answers(
    model: Model, call: Call[Any, VisualQuestionAnsweringParams], logits: Array
) -> VisualQuestionAnsweringOutput:
    """The best labels as answers. `logits`: (labels,)."""
    labels = best_labels(sigmoid(logits), model.labels, call.params.top_k or 5)
    return [VisualAnswer(label.score, label.label) for label in labels]


def writes(model: Model) -> bool:
    """Whether the model writes its answer; otherwise it chooses one of its labels."""
    return bool(model.config["model_type"] != "vilt")


def read_image_and_question(model: Model, call: Call[VisualQuestionAnsweringInputs, Any]) -> dict[str, Array]:
    """The model's arguments for one call, a batch of one. Raises InvalidRequest."""
    question = call.inputs.question
    arrays = encode_prompt(model, question, images=[decode_image(call.inputs.media)], limit=model.max_length)
    return {name: array for name, array in arrays.items() if name != "token_type_ids" or not writes(model)}


def prompts(model: Model, call: Call[VisualQuestionAnsweringInputs, Any]) -> list[Prompt]:
    """What a model that writes reads, by its kind. Raises InvalidRequest."""
    kind = model.config["model_type"]
    if kind in ("blip", "blip-2"):
        return [Prompt(arrays=read_image_and_question(model, call))]
    image, question = decode_image(call.inputs.media), call.inputs.question
    if kind == "git":
        return [question_prompt(model, call, image, question)]
    read = {"pix2struct": patches_prompt, "vision-encoder-decoder": encoder_prompt}.get(kind, message_prompt)
    return [read(model, call, image, question, "question")]


def answer(_call: Call[Any, Any], texts: Texts) -> VisualQuestionAnsweringOutput:
    """The model's own words."""
    return [VisualAnswer(None, text.strip()) for text in each_sequence(texts)]


def options(model: Model, _params: Any) -> Mapping[str, Any]:
    """What ends an answer: BLIP's decoder is BERT, whose texts end with [SEP]."""
    separator = model.tokenizer.sep_token_id
    return {"stop_token_ids": turn_ends(model, blocks=True) if separator is None else (separator,)}


GENERATION = Generation(prompts=prompts, answer=answer, options=options, applies=writes, otherwise=choose_answers)

TASK = Task(
    id="visual-question-answering",
    summary="Answer a question about an image.",
    inputs=VisualQuestionAnsweringInputs,
    params=VisualQuestionAnsweringParams,
    output=VisualQuestionAnsweringOutput,
    run=GENERATION.run,
    generation=GENERATION,
    heads=("visual-question-answering", "vision-encoder-decoder"),
    example={"base64": EXAMPLE, "question": "What colour is it?"},
    media="image",
    wildcard="url",
    max_batch=8,
    length=lambda call: media_size(call.inputs.media) + len(call.inputs.question),
    sizes=sizes.images_with_a_question,
)
