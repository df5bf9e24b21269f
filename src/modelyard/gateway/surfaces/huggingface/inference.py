"""Hugging Face's inferences: their paths, and how each is described. The calls themselves are in the files beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.huggingface import (
    EmbedBody,
    EmbedSparseBody,
    GenerateBody,
    Generated,
    HuggingFaceError,
    PredictBody,
    RankedText,
    SparseValue,
    TaskBody,
    TextsBody,
)
from modelyard.gateway.shapes.inference import MADE_TYPES
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.shapes.openai.chat import ChatBody, ChatCompletion
from modelyard.gateway.surfaces.base import Surface
from modelyard.gateway.surfaces.huggingface.bodies import WRITERS
from modelyard.gateway.surfaces.huggingface.tasks import Generate, HuggingFaceTask
from modelyard.gateway.surfaces.huggingface.texts import (
    CLASSIFIER,
    EMBEDDERS,
    RANKER,
    Embed,
    EmbedSparse,
    Predict,
    RerankTexts,
)
from modelyard.gateway.surfaces.inference import BARE_FILES, HEADERS, REQUEST_HEADERS
from modelyard.gateway.surfaces.openai import chat
from modelyard.gateway.surfaces.openai.chat import ChatCompletions
from modelyard.gateway.surfaces.openai.inference import EVENTS, FAILURES, example
from modelyard.tasks.registry import TASKS

PREFIX = "/hf/"
MODEL = PREFIX + "{org}/{model}"
CHAT, GENERATE, GENERATE_STREAM = "/v1/chat/completions", "/generate", "/generate_stream"
EMBED, EMBED_SPARSE, RERANK, PREDICT = "/embed", "/embed_sparse", "/rerank", "/predict"
ANSWER: dict[str, Any] = {"description": "Depends on the model's task, as its page in the reference of tasks says."}
STREAM = {
    "text/event-stream": {
        "type": "string",
        "description": "An event for each piece; the last one has the whole text. A failure is an event with `error`.",
    }
}


def huggingface_surfaces(max_body_bytes: int) -> dict[str, Surface]:
    """By what follows the model's name."""
    return {
        "": HuggingFaceTask(max_body_bytes),
        CHAT: ChatCompletions(max_body_bytes),
        GENERATE: Generate(max_body_bytes, streams=False),
        GENERATE_STREAM: Generate(max_body_bytes, streams=True),
        EMBED: Embed(max_body_bytes),
        EMBED_SPARSE: EmbedSparse(max_body_bytes),
        RERANK: RerankTexts(max_body_bytes),
        PREDICT: Predict(max_body_bytes),
    }


def describe_inferences() -> Iterator[Operation]:
    """Each of them."""
    common: dict[str, Any] = {
        "methods": ("POST",),
        "tag": "huggingface",
        "headers": HEADERS,
        "request_headers": REQUEST_HEADERS,
        "error": HuggingFaceError,
    }
    text = {"inputs": "Once upon a time", "parameters": {"max_new_tokens": 16}}
    yield Operation(
        path=MODEL,
        summary="Run the model as Hugging Face's InferenceClient asks for its task",
        body=TaskBody,
        body_types=BARE_FILES,
        answer=ANSWER,
        answer_types={**MADE_TYPES, **STREAM},
        examples=example("A text to continue.", text),
        tasks=tuple(task.id for task in TASKS),
        **common,
    )
    yield Operation(
        path=MODEL + CHAT,
        summary="Answer a conversation, as OpenAI's API does; the path names the model",
        body=ChatBody,
        answer=ChatCompletion,
        answer_types=EVENTS,
        tasks=chat.TASKS,
        failures=FAILURES,
        examples=example("A question.", {"model": "-", "messages": [{"role": "user", "content": "What is a fox?"}]}),
        **{**common, "error": OpenAIError},
    )
    for path, words in ((GENERATE, ""), (GENERATE_STREAM, ", as events")):
        yield Operation(
            path=MODEL + path,
            summary=f"Continue a text as it stands{words}",
            body=GenerateBody,
            answer=Generated if path == GENERATE else None,
            answer_types=STREAM,
            tasks=WRITERS,
            examples=example("A text to continue.", text),
            **common,
        )
    yield Operation(
        path=MODEL + EMBED,
        summary="Turn texts into vectors",
        body=EmbedBody,
        answer=list[list[float]],
        tasks=EMBEDDERS,
        examples=example("Two texts.", {"inputs": ["a cat", "a dog"]}),
        **common,
    )
    yield Operation(
        path=MODEL + EMBED_SPARSE,
        summary="Weigh the words of a vocabulary by texts, on models that do (SPLADE)",
        body=EmbedSparseBody,
        answer=list[list[SparseValue]],
        tasks=("feature-extraction",),
        examples=example("Two texts.", {"inputs": ["a cat", "a dog"]}),
        **common,
    )
    yield Operation(
        path=MODEL + RERANK,
        summary="Rank texts by how well they answer a query",
        body=TextsBody,
        answer=list[RankedText],
        tasks=(RANKER,),
        examples=example("A query.", {"query": "a cat", "texts": ["a dog", "a cat on a mat"]}),
        **common,
    )
    yield Operation(
        path=MODEL + PREDICT,
        summary="Classify texts",
        body=PredictBody,
        answer={"type": "array", "items": {}, "description": "Labels with scores; of several texts a list of such."},
        tasks=(CLASSIFIER,),
        examples=example("A text.", {"inputs": "a wonderful story"}),
        **common,
    )


HUGGINGFACE_INFERENCES = tuple(describe_inferences())
