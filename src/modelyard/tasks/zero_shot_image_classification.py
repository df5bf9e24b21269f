"""zero-shot-image-classification: which of the request's own labels fit an image.

Each label becomes a sentence ("This is a photo of {label}."); its score is how well sentence and image go together.
CLIP and its kin share out one whole among the labels; SigLIP scores each label for itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from msgspec import Meta

from modelyard.errors import InvalidRequest
from modelyard.tasks.base import Call, Params, Task, attempt
from modelyard.tasks.model import Array, Model
from modelyard.tasks.shared import sizes
from modelyard.tasks.shared.candidates import CandidateLabels, check_template, split_labels, tokens_of
from modelyard.tasks.shared.images import EXAMPLE, ImageInputs, answer_images
from modelyard.tasks.shared.scores import Label, best_labels, sigmoid, softmax


class ZeroShotImageClassificationInputs(ImageInputs, frozen=True, kw_only=True):
    """The image, and the labels to choose from."""

    candidate_labels: CandidateLabels


class ZeroShotImageClassificationParams(Params, frozen=True, kw_only=True):
    """How labels become sentences."""

    hypothesis_template: Annotated[
        str, Meta(description="the sentence that says a label fits, with {} where the label goes")
    ] = "This is a photo of {}."

    def __post_init__(self) -> None:
        """Raises InvalidRequest when the label would not show in the sentence."""
        check_template(self.hypothesis_template)


ZeroShotImageClassificationOutput = list[Label]
"""The labels with their scores, best first."""


def run(model: Model, calls: Sequence[Call[Any, Any]]) -> list[Any]:
    """Scores each image against its call's labels. Images with the same labels run together."""
    sentences = [attempt(sentences_of, call) for call in calls]
    answers: dict[int, Any] = {}
    for own in {tuple(one): one for one in sentences if not isinstance(one, InvalidRequest)}.values():
        members = [index for index, one in enumerate(sentences) if one == own]
        answers.update(zip(members, classify(model, [calls[index] for index in members], own), strict=True))
    return [answers.get(index, sentences[index]) for index in range(len(calls))]


def sentences_of(call: Call[Any, Any]) -> list[str]:
    """The sentence for each of the call's labels. Raises InvalidRequest."""
    return [
        call.params.hypothesis_template.replace("{}", label) for label in split_labels(call.inputs.candidate_labels)
    ]


def classify(model: Model, calls: Sequence[Call[Any, Any]], sentences: Sequence[str]) -> list[Any]:
    """The answers to calls that share their sentences."""
    each_for_itself = "siglip" in str(model.config.get("model_type"))

    def read(call: Call[Any, Any], _image: Any, outputs: Mapping[str, Any]) -> list[Label]:
        logits: Array = outputs["logits_per_image"][0]
        labels = dict(enumerate(split_labels(call.inputs.candidate_labels)))
        return best_labels(sigmoid(logits) if each_for_itself else softmax(logits), labels)

    # SigLIP was trained on full-length texts and reads the last place, whatever is in it.
    tokens = attempt(lambda: tokens_of(model, sentences, limit=model.max_length, full=each_for_itself))
    if isinstance(tokens, InvalidRequest):
        return [tokens for _ in calls]
    return answer_images(model, calls, read, shared=tokens)


TASK = Task(
    id="zero-shot-image-classification",
    summary="Say which of your own labels fit an image.",
    inputs=ZeroShotImageClassificationInputs,
    params=ZeroShotImageClassificationParams,
    output=ZeroShotImageClassificationOutput,
    run=run,
    heads=("zero-shot-image-classification",),
    example={"base64": EXAMPLE, "candidate_labels": ["a square", "a cat", "the sea"]},
    media="image",
    wildcard="url",
    sizes=sizes.images_with_labels,
)
