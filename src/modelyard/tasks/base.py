"""The shape every task shares: typed inputs and params, one `run` over a batch, an output type, an example.

Owns the words a task is described in. Holds no task and no registry.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from modelyard.errors import InvalidRequest, ModelyardError
from modelyard.media.media import Kind

if TYPE_CHECKING:
    from modelyard.tasks.shared.generation import Generation

Head = Literal[
    "base",
    "causal-lm",
    "seq2seq-lm",
    "masked-lm",
    "sequence-classification",
    "token-classification",
    "question-answering",
    "image-classification",
    "object-detection",
    "image-segmentation",
    "semantic-segmentation",
    "instance-segmentation",
    "universal-segmentation",
    "depth-estimation",
    "mask-generation",
    "concept-segmentation",
    "zero-shot-image-classification",
    "zero-shot-object-detection",
    "image-text-to-text",
    "multimodal-lm",
    "vision-encoder-decoder",
    "visual-question-answering",
    "document-question-answering",
    "ctc",
    "rnnt",
    "tdt",
    "speech-seq2seq",
    "audio-classification",
    "video-classification",
    "text-to-waveform",
    "text-to-spectrogram",
    "image-pipeline",
    "video-pipeline",
    "audio-pipeline",
    "depth-pipeline",
]
"""Which output layer the runtime loads on top of the architecture; a `...-pipeline` is a whole diffusers folder."""


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of the unified body that a task reads. Other tasks' fields are ignored, so that a client can change
    model without changing its body."""


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task's settings, each typed, bounded and described (`Annotated[..., msgspec.Meta(description=...)]`).

    `followed_here`: those that the task follows itself, so that a model need not have them.
    """

    followed_here: ClassVar[frozenset[str]] = frozenset()


I = TypeVar("I", bound=Inputs)  # noqa: E741
P = TypeVar("P", bound=Params)
T = TypeVar("T")


def never() -> bool:
    """The `cancelled` of a call nobody can cancel."""
    return False


class Call(msgspec.Struct, Generic[I, P], frozen=True):
    """One request inside a batch. A frozen dataclass takes ten times as long to make.

    `emit`, when the client streams, takes the next piece of text: the pieces put together equal the output, but for
    those that are a `Thought` or a `CalledPiece`.
    `cancelled` turns True when the client has left; a task that loops looks at it at every step. `progress`, where
    somebody listens, is told of a media task's steps: (steps done, steps in all). `reading`, where the client streams,
    is told how many tokens a prompt has, before the first piece of what is written to it. `begun`, where somebody times
    the call, is told with how many calls the model begins it, or goes on beside it.
    """

    inputs: I
    params: P
    emit: Callable[[str], None] | None = None
    cancelled: Callable[[], bool] = never
    progress: Callable[[int, int], None] | None = None
    reading: Callable[[int], None] | None = None
    begun: Callable[[int], None] | None = None


Run = Callable[[Any, Sequence[Call[Any, Any]]], Sequence[Any | ModelyardError]]
"""Answers a batch on a model that offers the task's `heads`: a `Model`, or a `Maker` where the task `makes` media.

One output per call, in order, or an Outcome where the task knows what it took. A call that fails alone gets its
ModelyardError in its place.
"""


def attempt(make: Callable[..., T], *arguments: Any) -> T | InvalidRequest:
    """What `make` returns for the arguments, or the InvalidRequest that it raised."""
    try:
        return make(*arguments)
    except InvalidRequest as error:
        return error


def same_params(call: Call[Any, Any]) -> Hashable:
    """Calls with equal params may share a batch."""
    return msgspec.json.encode(call.params)


def alone(_call: Call[Any, Any]) -> int:
    """All inputs count as equally long."""
    return 0


@dataclass(frozen=True, slots=True)
class Size:
    """One request as a worker takes it, and what its size is called. `tokens`: about how many the model reads, for
    texts. `new_tokens`: how many it writes, where the request says so."""

    name: str
    fields: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)
    tokens: int | None = None
    new_tokens: int | None = None


Sizes = Callable[[int | None], list[Size]]
"""A task's sizes for a model with such a `max_length`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One machine-learning task.

    `wildcard` names the field that a bare string in `input` means; `list_wildcard` the one a bare list means.
    `example` is a body that validates; `output` is the type of the answer. `heads`: the output layers to try, in
    order of preference; none for a task that needs no model. `batch_key`: calls whose keys are equal may share a
    batch. `length`: a measure of input size, so that batches hold inputs of similar length. `max_batch`: most calls
    in one batch.
    `media`: what the field `media` of its inputs holds; clients send it as url, image_url, audio_url, video_url,
    base64, or `input`. `makes`: its output is a `Made` of this kind, which clients get as a URL or as bytes.
    `generation`, where its models write text: what they write, so that a scheduler of tokens can answer in place of
    `run`, which then is the generation's own.
    `sizes`: the requests that a benchmark asks its models; `pipeline_sizes`: the same for diffusers pipelines, where
    they read other settings. Without them a benchmark asks the `example`.
    `pipeline_key`: the key under which the library's own pipeline gives its text (`generated_text`).
    `has_variants`: whether ONNX variants are made of its models.
    `closed`: a provider answers it, and its params are those that providers take.
    `prepare`, where given, brings a client's fields into the form that `inputs` reads; done again, it changes nothing.
    """

    id: str
    summary: str
    inputs: type[Inputs]
    params: type[Params]
    output: Any
    run: Run
    heads: tuple[Head, ...]
    example: dict[str, Any]
    streams: bool = False
    media: Kind | None = None
    makes: Kind | None = None
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    wildcard: str = "text"
    list_wildcard: str = "text"
    max_batch: int = 32
    batch_key: Callable[[Call[Any, Any]], Hashable] = field(default=same_params)
    length: Callable[[Call[Any, Any]], int] = field(default=alone)
    generation: Generation | None = None
    sizes: Sizes | None = None
    pipeline_sizes: Sizes | None = None
    pipeline_key: str | None = None
    has_variants: bool = False
    closed: bool = False

    @property
    def answers_in_one_pass(self) -> bool:
        """Whether what an answer takes is told by the size of its input: nothing is written or made step by step."""
        return self.generation is None and self.makes is None
