"""`POST /v1/responses`: items in, items out, at once or as events; and what is kept of them, to go on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.kept_responses import KeptResponse, KeptResponses
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.openai.base import OpenAIError, reason_of
from modelyard.gateway.shapes.openai.chat import ChatBody
from modelyard.gateway.shapes.openai.responses import (
    LOGPROBS,
    CachedDetails,
    ChosenFunction,
    Incomplete,
    ReasoningSettings,
    ResponseAnswer,
    ResponseBody,
    ResponseFailure,
    ResponseUsage,
    TextSettings,
    ThoughtDetails,
)
from modelyard.gateway.shapes.openai.tools import (
    FunctionName,
    JsonForm,
    NamedTool,
    OfferedFunction,
    ResponseFormat,
    Tool,
)
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import encode, now, refuse_task, timing
from modelyard.gateway.surfaces.openai.base import OpenAISurface
from modelyard.gateway.surfaces.openai.chat import TASKS, variables_of
from modelyard.gateway.surfaces.openai.closed import closed_fields
from modelyard.gateway.surfaces.openai.response_events import ResponseEvents
from modelyard.gateway.surfaces.openai.response_items import input_items, items_of, messages_of
from modelyard.gateway.surfaces.openai.tools import form_of, name_tool, tools_of
from modelyard.gateway.surfaces.openai.writing import NAMES, params_of
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import CalledPiece, Outcome, Usage
from modelyard.records.providers import CHAT
from modelyard.tasks.base import Task

PREFIX = "resp_"


class Asked(msgspec.Struct):
    """A request as it is answered. `created`: seconds since 1970. `keeps`: it is stored. `messages`: the conversation,
    without instructions. `events`: of its stream; `is_begun`: the first of them were
    told."""

    body: ResponseBody
    extras: Mapping[str, Any]
    created: int
    keeps: bool
    messages: list[dict[str, Any]]
    events: ResponseEvents | None = None
    is_begun: bool = False


class Responses(OpenAISurface):
    """See the module."""

    asks = CHAT
    recalls = True
    names: ClassVar[Mapping[str, str]] = {
        **NAMES,
        "messages": "input",
        "text": "input",
        "params.max_new_tokens": "max_output_tokens",
        "params.json_schema": "text.format",
        "params.reasoning_effort": "reasoning.effort",
        "params.logprobs": "include",
        "response_format": "text.format",
        "response_format.json_schema": "text.format.schema",
    }

    def __init__(self, kept: KeptResponses, max_body_bytes: int) -> None:
        """`kept`: where responses are stored."""
        super().__init__(max_body_bytes)
        self._kept = kept

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The items. A path that names a model wins over the body."""
        body, extras = await self.read_json(http, ResponseBody)
        if body.stream_options is not None and not body.stream:
            raise InvalidRequest(field="stream_options", got="an object", accepted="nothing, unless stream is true")
        if body.top_logprobs and LOGPROBS not in (body.include or ()):
            raise InvalidRequest(
                field="top_logprobs", got=body.top_logprobs, accepted=f"0, unless include has {LOGPROBS}"
            )
        if body.store and not self._kept.keeps:
            raise InvalidRequest(field="store", got=True, accepted="false: this server keeps no responses")
        keeps = self._kept.keeps and body.store is not False
        asked = Asked(body, extras, now(), keeps, messages_of(body.input))
        return UnifiedBody(model_id or body.model, timing(body.timeout), asked, body.models)

    async def recall(self, read: UnifiedBody, account_id: str, http: HttpExchange) -> UnifiedBody:
        """The conversation that it goes on from, in front of its own."""
        asked: Asked = read.asked
        if (previous := asked.body.previous_response_id) is not None:
            kept = await self._kept.get(account_id, previous, "previous_response_id", http.grow)
            asked.messages = [*kept.messages, *asked.messages]
        if asked.keeps:
            await self._kept.check(asked.messages)
        return read

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id not in TASKS:
            raise refuse_task(task, " or ".join(TASKS))
        asked: Asked = read.asked
        if (several := asked.extras.get("num_return_sequences")) not in (None, 1):
            raise InvalidRequest(field="num_return_sequences", got=several, accepted="1: a response is one answer")
        body, chat = asked.body, chat_of(asked)
        told = [] if body.instructions is None else [{"role": "system", "content": body.instructions}]
        likelihoods = {"logprobs": True, "top_logprobs": body.top_logprobs or 0}
        if task.closed:
            fields = closed_fields(chat, asked.extras, body.max_output_tokens)
            params = fields["params"] | (likelihoods if LOGPROBS in (body.include or ()) else {})
            return {**fields, "messages": [*told, *asked.messages], "params": params, "stream": body.stream}
        return {
            "messages": [*told, *asked.messages],
            **tools_of(chat),
            "params": {
                **params_of(chat, asked.extras, body.max_output_tokens),
                **form_of(chat),
                **variables_of(chat),
                **(likelihoods if LOGPROBS in (body.include or ()) else {}),
            },
            "stream": body.stream,
        }

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The response, or the end of its stream; it is stored first."""
        asked: Asked = request.asked
        message, events = outcome.output, asked.events
        if events is not None and not events.has_thought:
            message = {**message, "reasoning_content": None}  # it was thought after something had been said
        response = respond(request, message, outcome)
        if events is not None:
            response = msgspec.structs.replace(response, output=events.in_order(response.output))
        if asked.keeps:
            items = input_items(asked.body.input, response.id)
            raw = msgspec.Raw(encode(response))
            kept = KeptResponse(raw, items, [*asked.messages, said_back(outcome.output)])
            await self._kept.keep(request.key.account_id, response.id, kept)
        if not request.inference.stream:
            return Payload(encode(response))
        begun = self.opening(request)
        return Payload(begun + self._begin(request).end(response))

    def opening(self, request: ModelRequest) -> bytes:
        """The response before there is anything of it; nothing, once it was told."""
        asked: Asked = request.asked
        if asked.is_begun:
            return b""
        asked.is_begun = True
        return self._begin(request).begin(shown(asked, id_of(request.id), "in_progress"))

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of what is said."""
        return self.opening(request) + self._begin(request).text(text)

    def thought(self, request: ModelRequest, text: str) -> bytes:
        """More of what is thought."""
        return self.opening(request) + self._begin(request).thought(text)

    def called(self, request: ModelRequest, piece: CalledPiece) -> bytes:
        """More of a call."""
        return self.opening(request) + self._begin(request).call(piece)

    def stream_error(self, error: BaseException, request_id: str, asked: Any = None) -> bytes:
        """The error, and the response that failed."""
        problem = OpenAIError.of(error, request_id).error
        events = asked.events or ResponseEvents(id_of(request_id))
        failure = ResponseFailure(code=problem.code or problem.type, message=problem.message)
        return events.fail(shown(asked, id_of(request_id), "failed", error=failure), problem)

    def rename(self, error: BaseException, asked: Any) -> BaseException:
        """See ForeignSurface; what is wrong with a call that is demanded is wrong with its function."""
        if asked is not None:
            error = name_tool(error, chat_of(asked), "parameters")
        return super().rename(error, asked)

    def _begin(self, request: ModelRequest) -> ResponseEvents:
        asked: Asked = request.asked
        if asked.events is None:
            asked.events = ResponseEvents(id_of(request.id))
        return asked.events


def id_of(request_id: str) -> str:
    """The name of the response to a request."""
    return PREFIX + request_id.removeprefix("req_")


def chat_of(asked: Asked) -> ChatBody:
    """What it asks, as chat's own calls have it."""
    body = asked.body
    tools = [
        Tool(
            type="function",
            function=OfferedFunction(
                name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
            ),
        )
        for tool in body.tools or ()
    ]
    choice: Any = body.tool_choice
    if isinstance(choice, ChosenFunction):
        choice = NamedTool(type="function", function=FunctionName(name=choice.name))
    return ChatBody(
        model=body.model,
        messages=asked.messages,
        temperature=body.temperature,
        top_p=body.top_p,
        tools=tools or None,
        tool_choice=choice,
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=format_of(body.text),
        reasoning_effort=None if body.reasoning is None else body.reasoning.effort,
        chat_template_kwargs=body.chat_template_kwargs,
    )


def format_of(text: TextSettings | None) -> ResponseFormat | None:
    """The form that is wanted, as chat has it."""
    if text is None:
        return None
    form = text.format
    schema = form.schema
    if isinstance(schema, msgspec.UnsetType):
        return ResponseFormat(type=form.type)
    return ResponseFormat(type=form.type, json_schema=JsonForm(name="answer", schema=schema))


def said_back(message: Mapping[str, Any]) -> dict[str, Any]:
    """The assistant's message as the conversation goes on with it."""
    return {name: value for name, value in message.items() if value is not None}


def respond(request: ModelRequest, message: Mapping[str, Any], outcome: Outcome) -> ResponseAnswer:
    """The whole response."""
    is_cut = reason_of(outcome.usage, 0) == "length"
    status: Literal["incomplete", "completed"] = "incomplete" if is_cut else "completed"
    response_id = id_of(request.id)
    items = items_of(response_id, message, status, outcome.logprobs)
    more = {"incomplete_details": Incomplete(reason="max_output_tokens")} if is_cut else {}
    return shown(request.asked, response_id, status, items, usage=show_usage(outcome.usage), **more)


def shown(asked: Asked, response_id: str, status: Any, output: Sequence[Any] = (), **more: Any) -> ResponseAnswer:
    """A response in some state, with what was asked."""
    body = asked.body
    return ResponseAnswer(
        id=response_id,
        created_at=asked.created,
        status=status,
        model=body.model,
        output=output,
        previous_response_id=body.previous_response_id,
        store=asked.keeps,
        instructions=body.instructions,
        tools=body.tools or (),
        tool_choice=body.tool_choice or "auto",
        parallel_tool_calls=body.parallel_tool_calls is not False,
        text=body.text or TextSettings(),
        reasoning=body.reasoning or ReasoningSettings(),
        max_output_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        top_logprobs=body.top_logprobs or 0,
        metadata=body.metadata or {},
        user=body.user,
        **more,
    )


def show_usage(usage: Usage) -> ResponseUsage:
    """What it took."""
    read, made = usage.prompt_tokens or 0, usage.new_tokens or 0
    return ResponseUsage(
        input_tokens=read,
        input_tokens_details=CachedDetails(cached_tokens=usage.cached_tokens or 0),
        output_tokens=made,
        output_tokens_details=ThoughtDetails(reasoning_tokens=usage.reasoning_tokens or 0),
        total_tokens=read + made,
    )
