"""`POST /hf/{org}/{model}`: whatever the model's task is, asked and answered as `InferenceClient` does; models that
write, also as text-generation-inference does at `/generate` and `/generate_stream`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from modelyard.gateway.kept_files import read_made
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.base import ErrorBody
from modelyard.gateway.shapes.huggingface import HuggingFaceError, StreamEvent, StreamToken
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import ForeignSurface, encode, event, refuse_task
from modelyard.gateway.surfaces.huggingface.answers import details_of, generated, show, texts_of
from modelyard.gateway.surfaces.huggingface.bodies import WRITERS, settings_of, to_unified
from modelyard.gateway.uploads import read_body
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.tasks.base import Task
from modelyard.tasks.body import flag


class Asked:
    """A request as it is answered. `events`: sent so far."""

    __slots__ = ("body", "events", "parameters")

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.body = body
        self.parameters = settings_of(body)
        self.events = 0

    @property
    def seed(self) -> int | None:
        """The seed that was asked for."""
        seed = self.parameters.get("seed")
        return seed if isinstance(seed, int) else None


class HuggingFaceTask(ForeignSurface):
    """See the module."""

    name = "huggingface"
    error_shape: ClassVar[type[ErrorBody]] = HuggingFaceError
    names: ClassVar[Mapping[str, str]] = {"text": "inputs", "base64": "inputs", "messages": "inputs"}
    shown_with_details: ClassVar[tuple[str, ...]] = ("text-generation", "chat")
    """Tasks whose texts may have details beside them; the others' are shown as the task's own client reads them."""

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The body, which may be a bare file."""
        body = await read_body(http, self._max_body_bytes)
        if "inputs" not in body and "base64" in body:
            body = {"inputs": body["base64"], "parameters": body.get("params"), "models": body.get("models")}
        flag(body, "stream", default=False)
        return UnifiedBody(model_id or "", {}, Asked(body), body.get("models"))

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface. A model that chats continues a bare text as it stands."""
        unified = to_unified(task, read.asked.body)
        if task.id == "chat" and "messages" not in unified:
            unified["params"]["use_template"] = False
        streams = bool(read.asked.body.get("stream")) and task.id in WRITERS
        return {**unified, "stream": streams, "json": False}

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The answer in the task's shape, or the file that was made; of a stream its last event."""
        if request.task.makes is not None:
            made = read_made(outcome.output)
            return Payload(made.data, made.media_type)
        if request.inference.stream:
            return Payload(self.ending(request, outcome))
        if request.task.id in self.shown_with_details:
            return Payload(encode(self.texts(request, outcome)))
        return Payload(encode(show(request.task, outcome.output)))

    def texts(self, request: ModelRequest, outcome: Outcome) -> Any:
        """The texts that were made."""
        asked: Asked = request.asked
        wanted = asked.parameters.get("details") is True
        shown = prompt_shown(request)
        return [
            generated(outcome, text, prompt=shown, details=wanted, seed=asked.seed) for text in texts_of(outcome.output)
        ]

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of the text."""
        return self.next_event(request, StreamToken(text=text))

    def ending(self, request: ModelRequest, outcome: Outcome) -> bytes:
        """The whole text, and how it was made."""
        (text,) = texts_of(outcome.output)
        asked: Asked = request.asked
        last = StreamToken(text="", special=True)
        whole = prompt_shown(request) + text
        return self.next_event(request, last, generated_text=whole, details=details_of(outcome, asked.seed))

    def next_event(self, request: ModelRequest, token: StreamToken, **more: Any) -> bytes:
        """One event."""
        request.asked.events += 1
        return event(StreamEvent(index=request.asked.events, token=token, **more))


class Generate(HuggingFaceTask):
    """`/generate` and `/generate_stream`."""

    shown_with_details = WRITERS

    def __init__(self, max_body_bytes: int, *, streams: bool) -> None:
        """`streams`: whatever the body says."""
        super().__init__(max_body_bytes)
        self._streams = streams

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id not in WRITERS:
            raise refuse_task(task, " or ".join(WRITERS))
        fields = super().fields(read, task)
        return {**fields, "stream": self._streams or fields["stream"]}

    def texts(self, request: ModelRequest, outcome: Outcome) -> Any:
        """The one text, or the first of several."""
        return super().texts(request, outcome)[0]


def prompt_shown(request: ModelRequest) -> str:
    """What stands before a continuation that was asked for whole, where the model itself does not write it: in chat."""
    asked: Asked = request.asked
    whole = request.task.id == "chat" and asked.parameters.get("return_full_text") is True
    return str(asked.body.get("inputs")) if whole else ""
