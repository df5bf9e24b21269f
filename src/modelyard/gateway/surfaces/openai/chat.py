"""`POST /v1/chat/completions`: a conversation in, the assistant's message out, at once or as events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from modelyard.errors import InvalidRequest
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.openai.base import CompletionUsage, reason_of, show_usage
from modelyard.gateway.shapes.openai.chat import (
    ChatAudio,
    ChatBody,
    ChatChoice,
    ChatChunk,
    ChatChunkChoice,
    ChatCompletion,
    ChatDelta,
    ChatMessage,
    ChoiceLogprobs,
    TokenLogprob,
)
from modelyard.gateway.shapes.openai.tools import CalledFunction, CalledTool
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import EVENTS, MARK, around, encode, event, now, refuse_task, timing
from modelyard.gateway.surfaces.openai.audio import voice_of
from modelyard.gateway.surfaces.openai.base import DONE, OpenAISurface
from modelyard.gateway.surfaces.openai.closed import closed_fields
from modelyard.gateway.surfaces.openai.tools import form_of, name_tool, show_calls, split_calls, tools_of
from modelyard.gateway.surfaces.openai.writing import NAMES, check_stream_options, params_of, wants_usage
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import CalledPiece, Outcome
from modelyard.records.providers import CHAT
from modelyard.tasks.base import Task

TASKS = ("chat", "image-text-to-text", "audio-text-to-text", "video-text-to-text")
PREFIX = "chatcmpl-"


class Asked(msgspec.Struct):
    """A request as it is answered. `created`: seconds since 1970, the same in every event. `around`: what stands before
    and behind the text of a piece, once there was one. `calls`: how many were begun to be told."""

    body: ChatBody
    extras: Mapping[str, Any]
    created: int
    around: tuple[bytes, bytes] | None = None
    around_thought: tuple[bytes, ...] = ()
    calls: int = 0


class ChatCompletions(OpenAISurface):
    """See the module."""

    asks = CHAT
    names: ClassVar[Mapping[str, str]] = {
        **NAMES, "text": "messages", "params.voice": "audio.voice", "params.audio_format": "audio.format",
    }  # fmt: skip

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The conversation. A path that names a model wins over the body."""
        body, extras = await self.read_json(http, ChatBody)
        check_stream_options(body)
        return UnifiedBody(model_id or body.model, timing(body.timeout), Asked(body, extras, now()), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface. Several answers at once, and one that is said, are made before the first event is sent."""
        if task.id not in TASKS:
            raise refuse_task(task, " or ".join(TASKS))
        asked: Asked = read.asked
        body = asked.body
        spoken = speech_of(body, task)
        if task.closed:
            return closed_fields(body, asked.extras, most_tokens(body))
        return {
            "messages": body.messages,
            **tools_of(body),
            "params": {
                **params_of(body, asked.extras, most_tokens(body)),
                **form_of(body),
                **likelihoods_of(body),
                **variables_of(body),
                **spoken,
            },
            "stream": body.stream and (body.n or 1) == 1 and not spoken,
        }

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The completion; of a stream its end, or all of it where there are several answers."""
        asked: Asked = request.asked
        if not asked.body.stream:
            return Payload(encode(completion(request, outcome)))
        last = ending(request, outcome)
        if request.inference.stream:
            return Payload(last)
        said = enumerate(messages_of(outcome.output))
        first = [chunk(request, delta_of(request, message), at) for at, message in said]
        return Payload(b"".join([*first, last]), EVENTS)

    def rename(self, error: BaseException, asked: Any) -> BaseException:
        """See ForeignSurface; what is wrong with a call that is demanded is wrong with its function."""
        if asked is not None:
            error = name_tool(error, asked.body, "function.parameters")
        return super().rename(error, asked)

    def opening(self, request: ModelRequest) -> bytes:
        """Who speaks."""
        return chunk(request, ChatDelta(role="assistant", content=""))

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of what is said."""
        asked: Asked = request.asked
        if asked.around is None:
            asked.around = around(chunk(request, ChatDelta(content=MARK)))
        return b"%b%b%b" % (asked.around[0], encode(text), asked.around[1])

    def thought(self, request: ModelRequest, text: str) -> bytes:
        """More of what is thought, under both of its names."""
        asked: Asked = request.asked
        if not asked.around_thought:
            marked = chunk(request, ChatDelta(reasoning_content=MARK, reasoning=MARK))
            asked.around_thought = tuple(marked.split(encode(MARK)))
        return encode(str(text)).join(asked.around_thought)

    def called(self, request: ModelRequest, piece: CalledPiece) -> bytes:
        """More of a call: at first who is called."""
        asked: Asked = request.asked
        begun = b""
        if piece.name:
            asked.calls += 1
            who = CalledTool(
                index=piece.number,
                id=piece.id,
                type="function",
                function=CalledFunction(name=piece.name, arguments=""),
            )
            begun = chunk(request, ChatDelta(tool_calls=[who]))
        more = CalledTool(index=piece.number, function=CalledFunction(arguments=str(piece)))
        return begun + chunk(request, ChatDelta(tool_calls=[more]))


def delta_of(request: ModelRequest, message: Mapping[str, Any]) -> ChatDelta:
    """A whole message as one event has it, but for its calls."""
    thought = message.get("reasoning_content", UNSET)
    text = text_of(message["content"])
    return ChatDelta(
        role="assistant",
        content=text,
        reasoning_content=thought,
        reasoning=thought,
        audio=show_audio(request, message, text),
    )


def speech_of(body: ChatBody, task: Task) -> dict[str, Any]:
    """The params that have an answer said; none where nobody asks for that. Raises InvalidRequest."""
    wanted = "audio" in (body.modalities or ())
    if wanted and "voice" not in task.params.__struct_fields__:
        accepted = '["text"]: this model writes its answers, and does not say them'
        raise InvalidRequest(field="modalities", got=body.modalities, accepted=accepted)
    if wanted is (body.audio is None):
        accepted = (
            '{"voice": ...}, beside modalities with audio' if wanted else 'nothing, unless modalities has "audio"'
        )
        raise InvalidRequest(field="audio", got=None if wanted else "an object", accepted=accepted)
    if body.audio is None:
        return {}
    return {"voice": voice_of(body.audio.voice), "audio_format": body.audio.format.removesuffix("16")}


def show_audio(request: ModelRequest, message: Mapping[str, Any], text: str) -> ChatAudio | UnsetType:
    """What a message says, where it was said."""
    made = message.get("audio")
    if made is None:
        return UNSET
    asked: Asked = request.asked
    return ChatAudio(id=f"audio-{request.id}", data=made["data"], expires_at=asked.created, transcript=text)


def variables_of(body: ChatBody) -> dict[str, Any]:
    """The params that set variables of the model's chat template."""
    given = {"reasoning_effort": body.reasoning_effort, "chat_template_kwargs": body.chat_template_kwargs or None}
    return {name: value for name, value in given.items() if value is not None}


def most_tokens(body: ChatBody) -> int | None:
    """Most tokens to make, by either of its names. Raises InvalidRequest when the two differ."""
    if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
        accepted = f"the same as max_completion_tokens, {body.max_completion_tokens}"
        raise InvalidRequest(field="max_tokens", got=body.max_tokens, accepted=accepted)
    return body.max_completion_tokens or body.max_tokens


def completion(request: ModelRequest, outcome: Outcome) -> ChatCompletion:
    """The whole answer."""
    asked: Asked = request.asked
    choices = [
        ChatChoice(
            index=at,
            message=show_message(request, message),
            logprobs=show_logprobs(outcome, at),
            finish_reason=why_ended(message, outcome, at),
        )
        for at, message in enumerate(messages_of(outcome.output))
    ]
    return ChatCompletion(
        id=PREFIX + request.id,
        created=asked.created,
        model=asked.body.model,
        choices=choices,
        usage=show_usage(outcome.usage),
    )


def chunk(
    request: ModelRequest,
    delta: ChatDelta,
    place: int = 0,
    reason: str | None = None,
    logprobs: ChoiceLogprobs | None = None,
) -> bytes:
    """An event with what it adds to the answer number `place`."""
    choice = ChatChunkChoice(index=place, delta=delta, logprobs=logprobs, finish_reason=reason)
    return chunk_event(request, [choice])


def chunk_event(
    request: ModelRequest, choices: Sequence[ChatChunkChoice], usage: CompletionUsage | None = None
) -> bytes:
    """An event of the stream; with `usage` where it is the one that has it."""
    asked: Asked = request.asked
    return event(
        ChatChunk(
            id=PREFIX + request.id,
            created=asked.created,
            model=asked.body.model,
            choices=choices,
            usage=usage if wants_usage(asked.body) else UNSET,
        )
    )


def ending(request: ModelRequest, outcome: Outcome) -> bytes:
    """What each answer calls that was not told, and why it ended, the usage where it is wanted, and that this is the
    end."""
    asked: Asked = request.asked
    ends = []
    for at, message in enumerate(messages_of(outcome.output)):
        calls = split_calls(show_calls(message), told=asked.calls)
        ends += [chunk(request, ChatDelta(tool_calls=[call]), at) for call in calls]
        ends.append(chunk(request, ChatDelta(), at, why_ended(message, outcome, at), show_logprobs(outcome, at)))
    usage = [chunk_event(request, [], show_usage(outcome.usage))] if wants_usage(asked.body) else []
    return b"".join([*ends, *usage, DONE])


def likelihoods_of(body: ChatBody) -> dict[str, Any]:
    """The params that ask how likely tokens were."""
    return {"logprobs": True, "top_logprobs": body.top_logprobs or 0} if body.logprobs else {}


def show_logprobs(outcome: Outcome, place: int) -> ChoiceLogprobs | None:
    """How likely the tokens of the answer number `place` were; None: nobody asked."""
    if outcome.logprobs is None:
        return None
    own = [token for token in outcome.logprobs if token.get("index", 0) == place]
    return ChoiceLogprobs(content=msgspec.convert(own, list[TokenLogprob]))


def show_message(request: ModelRequest, message: Mapping[str, Any]) -> ChatMessage:
    """One answer."""
    text, calls = text_of(message["content"]), show_calls(message)
    thought = message.get("reasoning_content", UNSET)
    return ChatMessage(
        content=None if calls and not text else text,
        reasoning_content=thought,
        reasoning=thought,
        tool_calls=calls or UNSET,
        audio=show_audio(request, message, text),
    )


def why_ended(message: Mapping[str, Any], outcome: Outcome, place: int) -> str:
    """Why the answer number `place` ended: in calls, unless the limit cut it."""
    reason = reason_of(outcome.usage, place)
    return "tool_calls" if reason == "stop" and message.get("tool_calls") else reason


def messages_of(output: Any) -> list[dict[str, Any]]:
    """The messages that the task answered with."""
    return output if isinstance(output, list) else [output]


def text_of(content: str | list[dict[str, Any]]) -> str:
    """A message's text."""
    return content if isinstance(content, str) else "".join(block["text"] for block in content)
