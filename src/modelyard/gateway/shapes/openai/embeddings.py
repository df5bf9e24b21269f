"""What `/v1/embeddings` reads and answers. Only describes: `surfaces.openai.embeddings` speaks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.gateway.shapes.base import Fallbacks, described
from modelyard.gateway.shapes.openai.base import CompletionUsage, OpenAIShape
from modelyard.gateway.shapes.openai.writing import NO_EFFECT

MOST_INPUTS = 1024
FORMS = "a text, the ids of its tokens, or a list of 1 to 1024 of either"


class EmbeddingBody(OpenAIShape, frozen=True, kw_only=True):
    """Texts to embed."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    models: Fallbacks = None
    input: Annotated[
        str | Annotated[list[str | int | list[int]], Meta(min_length=1)],
        described(
            "A text, or a list of 1 to 1024. A text may be the ids of its tokens, by the model's own tokenizer.",
            accepted=FORMS,
        ),
    ]
    encoding_format: Annotated[
        Literal["float", "base64"],
        described("float: lists of numbers; base64: 32-bit floats, little-endian, in base64."),
    ] = "float"
    dimensions: Annotated[
        Annotated[int, Meta(ge=1, le=1_000_000)] | None,
        described("How many of each vector's first values to answer with, for models that were trained for it."),
    ] = None
    timeout: Annotated[
        float | None, described("Seconds that the request may take in all.", accepted="a number of seconds above 0")
    ] = None
    user: Annotated[str | None, described(NO_EFFECT)] = None


class Embedding(OpenAIShape, frozen=True, kw_only=True):
    """One text's vector."""

    object: Annotated[Literal["embedding"], described("What this is.")] = "embedding"
    index: Annotated[int, described("The text's place in the request, from 0.")]
    embedding: Annotated[
        Any,
        described(
            "The vector, of length 1 unless `normalize` is false; in base64 where that was asked for.",
            anyOf=[{"type": "array", "items": {"type": "number"}}, {"type": "string"}],
        ),
    ]


class Embeddings(OpenAIShape, frozen=True, kw_only=True):
    """Vectors in the order of the texts."""

    object: Annotated[Literal["list"], described("What this is.")] = "list"
    data: Annotated[Sequence[Embedding], described("The vectors.")]
    model: Annotated[str, described("The model, as it was asked for.")]
    usage: Annotated[CompletionUsage, described("What was read; 0 where the model's runtime does not tell (GGUF).")]
