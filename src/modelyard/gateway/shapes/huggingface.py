"""What Hugging Face's clients send and read. Only describes: `surfaces.huggingface` speaks it.

Source: the types of the package `huggingface_hub`, and the APIs of text-generation-inference and
text-embeddings-inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from msgspec import UNSET, Meta, UnsetType

from modelyard.gateway import problem, remedies
from modelyard.gateway.shapes.base import ErrorBody, Fallbacks, SnakeShape, described

ErrorType = Literal["validation", "overloaded", "generation"]
PARAMETERS = described("Settings of the model's task, by their own names.", accepted="an object")


class HuggingFaceError(ErrorBody, frozen=True, kw_only=True, rename=None):
    """What is wrong, as Hugging Face's servers say it."""

    error: Annotated[str, described("One clear sentence: what is wrong, what was got, what to do.")]
    error_type: Annotated[ErrorType, described("Whether the request, the load or the model is at fault.")]
    remedies = remedies.OPENAI

    @classmethod
    def of(cls, error: BaseException, request_id: str) -> Self:
        """The body of an error."""
        return cls(error=problem.message_of(error, request_id, cls.remedies), error_type=type_of(error))


def type_of(error: BaseException) -> ErrorType:
    """Who is at fault."""
    status = problem.status_of(error)
    if status in (429, 503):
        return "overloaded"
    return "validation" if status < 500 else "generation"


class TaskBody(SnakeShape, frozen=True, kw_only=True):
    """What any task reads; of tasks that read media, the body may also be the file itself."""

    inputs: Annotated[
        Any,
        described(
            "A text, several, or an object with the task's fields (question, context, image, source_sentence, "
            "sentences, ...). Media is a URL or base64."
        ),
    ] = None
    parameters: Annotated[dict[str, Any] | None, PARAMETERS] = None
    stream: Annotated[bool, described("Of models that write: send the answer as events, as it is made.")] = False
    question: Annotated[str | None, described("Of visual-question-answering, beside the image.")] = None
    models: Fallbacks = None
    options: Annotated[Any, described("Has no effect here.")] = None


class GenerateBody(SnakeShape, frozen=True, kw_only=True):
    """A text to continue as it stands."""

    inputs: Annotated[str, described("The text.")]
    parameters: Annotated[dict[str, Any] | None, PARAMETERS] = None
    stream: Annotated[bool, described("Of /generate: the same as /generate_stream.")] = False
    models: Fallbacks = None


class GeneratedDetails(SnakeShape, frozen=True, kw_only=True):
    """How a text was made."""

    finish_reason: Annotated[str, described("eos_token, stop_sequence or length.")]
    generated_tokens: Annotated[int, described("Tokens that were made.")]
    input_length: Annotated[int, described("Tokens that were read.")]
    seed: Annotated[int | None, described("The seed that was asked for.")] = None
    prefill: Annotated[Sequence[Any], described("Always empty.")] = ()
    tokens: Annotated[Sequence[Any], described("Always empty.")] = ()


class Generated(SnakeShape, frozen=True, kw_only=True):
    """A text that was made."""

    generated_text: Annotated[str, described("The continuation; with return_full_text, the text before it too.")]
    details: Annotated[GeneratedDetails | UnsetType, described("With `details`: how it was made.")] = UNSET


class StreamToken(SnakeShape, frozen=True, kw_only=True):
    """A piece of a text."""

    id: Annotated[int, described("Always -1: a piece may be of several tokens.")] = -1
    text: Annotated[str, described("The piece.")]
    logprob: Annotated[float | None, described("Always null.")] = None
    special: Annotated[bool, described("True of the last event, whose piece is empty.")] = False


class StreamEvent(SnakeShape, frozen=True, kw_only=True):
    """An event of a stream; the last one has the whole text."""

    index: Annotated[int, described("From 1.")]
    token: Annotated[StreamToken, described("The piece.")]
    generated_text: Annotated[str | None, described("In the last event: the whole text.")] = None
    details: Annotated[GeneratedDetails | None, described("In the last event: how it was made.")] = None


CutAtTheEnd = Annotated[Literal["right", "Right"] | None, described("Where to cut: at the end.", accepted='"right"')]


class EmbedBody(SnakeShape, frozen=True, kw_only=True):
    """Texts to embed."""

    inputs: Annotated[
        str | Annotated[list[str | list[int]], Meta(min_length=1, max_length=1024)],
        described("A text, or a list of 1 to 1024.", accepted="a text, or a list of 1 to 1024"),
    ]
    normalize: Annotated[bool, described("Scale each vector to length 1.")] = True
    truncate: Annotated[bool, described("Cut what is too long, in place of refusing it.")] = False
    truncation_direction: CutAtTheEnd = None
    prompt_name: Annotated[str | None, described("Which of the model's own prompts to put before the text.")] = None
    dimensions: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None, described("How many of the first values to answer with.")
    ] = None


class EmbedSparseBody(SnakeShape, frozen=True, kw_only=True):
    """Texts whose words are weighed."""

    inputs: Annotated[
        str | Annotated[list[str | list[int]], Meta(min_length=1, max_length=1024)],
        described("A text, or a list of 1 to 1024.", accepted="a text, or a list of 1 to 1024"),
    ]
    truncate: Annotated[bool, described("Cut what is too long, in place of refusing it.")] = False
    truncation_direction: CutAtTheEnd = None
    prompt_name: Annotated[str | None, described("Which of the model's own prompts to put before the text.")] = None


class SparseValue(SnakeShape, frozen=True, kw_only=True):
    """What a text weighs on one word."""

    index: Annotated[int, described("The word's id, by the model's own tokenizer.")]
    value: Annotated[float, described("Its weight.")]


class TextsBody(SnakeShape, frozen=True, kw_only=True):
    """A query, and the texts to rank by how well they answer it."""

    query: Annotated[str, Meta(min_length=1), described("What is looked for.", accepted="a text that is not empty")]
    texts: Annotated[
        list[str], Meta(min_length=1, max_length=1024), described("The texts.", accepted="a list of 1 to 1024 texts")
    ]
    raw_scores: Annotated[bool, described("The model's own output in place of scores of 0 to 1.")] = False
    top_n: Annotated[
        Annotated[int, Meta(ge=1, le=1024)] | None, described("Only so many of the best.", accepted="1 to 1024")
    ] = None
    return_text: Annotated[bool, described("Whether each place has its text beside it.")] = False
    truncate: Annotated[bool, described("Has no effect: what is too long is cut.")] = False
    truncation_direction: CutAtTheEnd = None


class RankedText(SnakeShape, frozen=True, kw_only=True):
    """A text's place."""

    index: Annotated[int, described("The text's place in the request, from 0.")]
    score: Annotated[float, described("How well it answers.")]
    text: Annotated[str | UnsetType, described("With return_text: the text.")] = UNSET


class PredictBody(SnakeShape, frozen=True, kw_only=True):
    """Texts to classify."""

    inputs: Annotated[
        str | Annotated[list[str | list[str]], Meta(min_length=1, max_length=1024)],
        described(
            "A text; a pair of texts; or a list of lists of one or two texts, each of which is answered.",
            accepted="a text, a pair of texts, or a list of 1 to 1024 lists of one or two texts",
        ),
    ]
    raw_scores: Annotated[bool, described("The model's own output in place of probabilities.")] = False
    truncate: Annotated[bool, described("Has no effect: what is too long is cut.")] = False
    truncation_direction: CutAtTheEnd = None
