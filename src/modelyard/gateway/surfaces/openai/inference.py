"""OpenAI's inferences: their paths, and how each is described. The calls themselves are in the files beside."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from modelyard.gateway.kept_files import KeptFiles
from modelyard.gateway.kept_responses import KeptResponses
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.inference import BINARY, MADE_TYPES
from modelyard.gateway.shapes.openai.audio import SpeechBody, Transcription, TranscriptionBody, TranslationBody
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.shapes.openai.chat import ChatBody, ChatCompletion
from modelyard.gateway.shapes.openai.completions import Completion, CompletionBody
from modelyard.gateway.shapes.openai.embeddings import EmbeddingBody, Embeddings
from modelyard.gateway.shapes.openai.images import EditBody, ImageBody, Images
from modelyard.gateway.shapes.openai.moderations import ModerationBody, Moderations
from modelyard.gateway.shapes.openai.responses import ResponseAnswer, ResponseBody
from modelyard.gateway.surfaces.base import Surface
from modelyard.gateway.surfaces.inference import HEADERS, REQUEST_HEADERS
from modelyard.gateway.surfaces.openai import audio, chat, completions, embeddings, moderations
from modelyard.gateway.surfaces.openai.audio import Speech, Transcriptions, Translations
from modelyard.gateway.surfaces.openai.chat import ChatCompletions
from modelyard.gateway.surfaces.openai.completions import Completions
from modelyard.gateway.surfaces.openai.embeddings import EmbeddingCalls
from modelyard.gateway.surfaces.openai.images import Edits, Generations
from modelyard.gateway.surfaces.openai.moderations import ModerationCalls
from modelyard.gateway.surfaces.openai.responses import Responses

ROOTS = ("/v1", "/models/v2/openai/v1")
"""Where OpenAI's API is: where its clients look below a bare URL, and where the hosted service has it."""
EVENTS = {
    "text/event-stream": {
        "type": "string",
        "description": "With stream: an event for each piece, and `data: [DONE]`. After a failure the last event has "
        "an `error`, and nothing follows.",
    }
}
RESPONSE_EVENTS = {
    "text/event-stream": {
        "type": "string",
        "description": "With stream: response.created, then for each item response.output_item.added, its parts and "
        "their deltas, response.output_item.done; last response.completed, response.incomplete or response.failed.",
    }
}
FAILURES = {400: "The body is not valid JSON, or a field is wrong: `param` names it."}
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]


CHAT, COMPLETIONS, EMBEDDINGS = "/chat/completions", "/completions", "/embeddings"
RESPONSES, MODERATIONS = "/responses", "/moderations"
TRANSCRIPTIONS, TRANSLATIONS, SPEECH = "/audio/transcriptions", "/audio/translations", "/audio/speech"
GENERATIONS, EDITS = "/images/generations", "/images/edits"
FORM = "multipart/form-data"
TEXTS = {
    content_type.partition(";")[0]: {"type": "string", "description": words}
    for content_type, words in (
        (audio.PLAIN, "With text: the text."),
        (audio.SRT, "With srt: subtitles."),
        (audio.VTT, "With vtt: subtitles."),
    )
}


def openai_surfaces(kept: KeptFiles, responses: KeptResponses, max_body_bytes: int) -> dict[str, Surface]:
    """By path. `kept`: where files go that clients fetch; `responses`: where responses are stored."""
    calls: dict[str, Surface] = {
        RESPONSES: Responses(responses, max_body_bytes),
        CHAT: ChatCompletions(max_body_bytes),
        COMPLETIONS: Completions(max_body_bytes),
        EMBEDDINGS: EmbeddingCalls(max_body_bytes),
        MODERATIONS: ModerationCalls(max_body_bytes),
        TRANSCRIPTIONS: Transcriptions(max_body_bytes),
        TRANSLATIONS: Translations(max_body_bytes),
        SPEECH: Speech(max_body_bytes),
        GENERATIONS: Generations(kept, max_body_bytes),
        EDITS: Edits(kept, max_body_bytes),
    }
    return {root + path: surface for root in ROOTS for path, surface in calls.items()}


def describe_inferences(root: str) -> Iterator[Operation]:
    """Each below one of the paths."""
    common: dict[str, Any] = {
        "methods": ("POST",),
        "tag": "openai",
        "headers": HEADERS,
        "request_headers": REQUEST_HEADERS,
        "error": OpenAIError,
        "failures": FAILURES,
    }
    yield Operation(
        path=root + CHAT,
        summary="Answer a conversation, as OpenAI's API does",
        body=ChatBody,
        answer=ChatCompletion,
        answer_types=EVENTS,
        tasks=chat.TASKS,
        examples=example("A question.", {"model": "tiny/chat", "messages": QUESTION}),
        **common,
    )
    yield Operation(
        path=root + RESPONSES,
        summary="Answer a conversation, and keep it to go on from, as OpenAI's Responses API does",
        body=ResponseBody,
        answer=ResponseAnswer,
        answer_types=RESPONSE_EVENTS,
        tasks=chat.TASKS,
        examples=example("A question.", {"model": "tiny/chat", "input": "What is the capital of France?"}),
        **common,
    )
    yield Operation(
        path=root + COMPLETIONS,
        summary="Continue a text as it stands, as OpenAI's API does",
        body=CompletionBody,
        answer=Completion,
        answer_types=EVENTS,
        tasks=completions.TASKS,
        examples=example("A beginning.", {"model": "tiny/gpt2", "prompt": "Once upon a time", "max_tokens": 16}),
        **common,
    )
    yield Operation(
        path=root + EMBEDDINGS,
        summary="Turn texts into vectors, as OpenAI's API does",
        body=EmbeddingBody,
        answer=Embeddings,
        tasks=embeddings.TASKS,
        examples=example("Two texts.", {"model": "tiny/sentences", "input": ["a cat", "a dog"]}),
        **common,
    )
    yield Operation(
        path=root + MODERATIONS,
        summary="Say which of a model's labels fit texts, as OpenAI's API says what is wrong with them",
        body=ModerationBody,
        answer=Moderations,
        tasks=moderations.TASKS,
        examples=example("A text.", {"model": "tiny/classifier", "input": "I love this film!"}),
        **common,
    )
    for path, words, body in (
        (TRANSCRIPTIONS, "Write down what is said in a sound", TranscriptionBody),
        (TRANSLATIONS, "Write down in English what is said in a sound", TranslationBody),
    ):
        yield Operation(
            path=root + path,
            summary=f"{words}, as OpenAI's API does",
            body=body,
            body_types={FORM: form("file", "model")},
            answer=Transcription,
            answer_types={**TEXTS, **EVENTS} if path == TRANSCRIPTIONS else TEXTS,
            tasks=(audio.LISTENS,),
            **common,
        )
    yield Operation(
        path=root + SPEECH,
        summary="Read a text aloud, as OpenAI's API does",
        body=SpeechBody,
        answer=None,
        answer_types={name: BINARY for name in MADE_TYPES if name.startswith("audio/")},
        tasks=audio.SPEAKS,
        examples=example("A text.", {"model": "tiny/voice", "input": "Once upon a time.", "voice": "default"}),
        **common,
    )
    yield Operation(
        path=root + GENERATIONS,
        summary="Make an image that a text describes, as OpenAI's API does",
        body=ImageBody,
        answer=Images,
        tasks=Generations.tasks,
        examples=example("A text.", {"model": "tiny/painter", "prompt": "A small fox", "size": "64x64"}),
        **common,
    )
    yield Operation(
        path=root + EDITS,
        summary="Change an image as a text says, as OpenAI's API does",
        body=EditBody,
        body_types={FORM: form("image", "model", "prompt")},
        answer=Images,
        tasks=Edits.tasks,
        **common,
    )


def form(file: str, *texts: str) -> dict[str, Any]:
    """A form with a file and some texts; it may have the other fields of the JSON too."""
    fields = {name: {"type": "string"} for name in texts}
    return {"type": "object", "properties": {file: BINARY, **fields}, "required": [file, *texts]}


def example(summary: str, value: dict[str, Any]) -> dict[str, Any]:
    """The one example of a call."""
    return {"example": {"summary": summary, "value": value}}


OPENAI_INFERENCES = tuple(operation for root in ROOTS for operation in describe_inferences(root))
