"""`POST /v1/completions`: texts are continued as they stand, by models that write and by models that chat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, ClassVar

import msgspec
from msgspec import UNSET

from modelyard.errors import InvalidRequest
from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.openai.base import CompletionUsage, reason_of, show_usage
from modelyard.gateway.shapes.openai.completions import (
    Completion,
    CompletionBody,
    CompletionChoice,
    CompletionLogprobs,
)
from modelyard.gateway.surfaces.base import Payload, UnifiedBody
from modelyard.gateway.surfaces.foreign import EVENTS, MARK, around, encode, event, now, refuse_task, timing
from modelyard.gateway.surfaces.openai.base import DONE, OpenAISurface
from modelyard.gateway.surfaces.openai.writing import NAMES, check_stream_options, params_of, wants_usage
from modelyard.http.exchange import HttpExchange
from modelyard.protocol import Outcome
from modelyard.records.providers import WRITE
from modelyard.tasks.base import Task

TASKS = ("text-generation", "chat")
PREFIX = "cmpl-"


class Asked(msgspec.Struct):
    """A request as it is answered. `created`, `around`: see chat."""

    body: CompletionBody
    extras: Mapping[str, Any]
    created: int
    around: tuple[bytes, bytes] | None = None

    @property
    def prompts(self) -> list[str]:
        """The texts, in order."""
        return [self.body.prompt] if isinstance(self.body.prompt, str) else self.body.prompt

    @property
    def is_single(self) -> bool:
        """Whether there is one continuation, which can be streamed as it is made."""
        return len(self.prompts) == 1 and (self.body.n or 1) == 1


class Completions(OpenAISurface):
    """See the module."""

    asks = WRITE
    names: ClassVar[Mapping[str, str]] = {**NAMES, "text": "prompt"}

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The texts."""
        body, extras = await self.read_json(http, CompletionBody)
        check_stream_options(body)
        return UnifiedBody(model_id or body.model, timing(body.timeout), Asked(body, extras, now()), body.models)

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface. A text alone goes alone, so that it may be streamed."""
        asked: Asked = read.asked
        if task.id not in TASKS:
            raise refuse_task(task, " or ".join(TASKS))
        single, prompts = len(asked.prompts) == 1, asked.prompts
        if task.id == "chat" and not single:
            raise InvalidRequest(field="prompt", got=f"{len(prompts)} texts", accepted="one, of a model that chats")
        own = {"use_template": False} if task.id == "chat" else {"return_full_text": False}
        return {
            "text": prompts[0] if single else prompts,
            "params": {
                **params_of(asked.body, asked.extras, asked.body.max_tokens),
                **own,
                **likelihoods_of(asked.body),
            },
            "stream": asked.body.stream and asked.is_single,
        }

    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The continuations; of a stream its end, or all of it where there are several."""
        asked: Asked = request.asked
        texts = [shown_before(asked, at) + text for at, text in enumerate(texts_of(outcome.output))]
        if not asked.body.stream:
            choices = [
                CompletionChoice(
                    index=at,
                    text=text,
                    logprobs=show_logprobs(asked.body, outcome, at),
                    finish_reason=reason_of(outcome.usage, at),
                )
                for at, text in enumerate(texts)
            ]
            return Payload(encode(completion(request, choices, show_usage(outcome.usage))))
        last = ending(request, outcome, len(texts))
        if request.inference.stream:
            return Payload(last)
        return Payload(b"".join([*(chunk(request, text, at) for at, text in enumerate(texts)), last]), EVENTS)

    def opening(self, request: ModelRequest) -> bytes:
        """The prompt, where it is wanted."""
        asked: Asked = request.asked
        return chunk(request, shown_before(asked, 0)) if asked.body.echo else b""

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """More of the continuation."""
        asked: Asked = request.asked
        if asked.around is None:
            asked.around = around(chunk(request, MARK))
        return b"%b%b%b" % (asked.around[0], encode(text), asked.around[1])


def shown_before(asked: Asked, place: int) -> str:
    """What stands before the continuation number `place`: its prompt, where that is wanted."""
    return asked.prompts[place // (asked.body.n or 1)] if asked.body.echo else ""


def completion(request: ModelRequest, choices: Sequence[CompletionChoice], usage: CompletionUsage | None) -> Completion:
    """The answer, or an event of it; without `usage`, in a stream that ends with one, it is null."""
    asked: Asked = request.asked
    return Completion(
        id=PREFIX + request.id,
        created=asked.created,
        model=asked.body.model,
        choices=choices,
        usage=usage if not asked.body.stream or wants_usage(asked.body) else UNSET,
    )


def chunk(
    request: ModelRequest,
    text: str,
    place: int = 0,
    reason: str | None = None,
    logprobs: CompletionLogprobs | None = None,
) -> bytes:
    """An event with what it adds to the continuation number `place`."""
    choice = CompletionChoice(index=place, text=text, logprobs=logprobs, finish_reason=reason)
    return event(completion(request, [choice], None))


def ending(request: ModelRequest, outcome: Outcome, count: int) -> bytes:
    """Why each continuation ended, the usage where it is wanted, and that this is the end."""
    asked: Asked = request.asked
    ends = [
        chunk(request, "", at, reason_of(outcome.usage, at), show_logprobs(asked.body, outcome, at))
        for at in range(count)
    ]
    usage = [event(completion(request, [], show_usage(outcome.usage)))] if wants_usage(asked.body) else []
    return b"".join([*ends, *usage, DONE])


def likelihoods_of(body: CompletionBody) -> dict[str, Any]:
    """The params that ask how likely tokens were. Raises InvalidRequest for those of the prompt."""
    if body.logprobs is None or body.logprobs is False:
        return {}
    if body.logprobs is True:
        raise InvalidRequest(field="logprobs", got=True, accepted="0 to 20, or false")
    if body.echo:
        accepted = "nothing with echo: how likely a prompt's tokens were is not told here"
        raise InvalidRequest(field="logprobs", got=body.logprobs, accepted=accepted)
    return {"logprobs": True, "top_logprobs": body.logprobs}


def show_logprobs(body: CompletionBody, outcome: Outcome, place: int) -> CompletionLogprobs | None:
    """How likely the tokens of the continuation number `place` were; None: nobody asked."""
    if outcome.logprobs is None:
        return None
    own = [token for token in outcome.logprobs if token.get("index", 0) == place]
    tokens = [token["token"] for token in own]
    # Of two tokens with one text, the likelier one is told: they come best first.
    tops = [{each["token"]: each["logprob"] for each in reversed(token["top_logprobs"])} for token in own]
    return CompletionLogprobs(
        tokens=tokens,
        token_logprobs=[token["logprob"] for token in own],
        top_logprobs=tops if body.logprobs else None,
        text_offset=[0, *accumulate(map(len, tokens))][: len(tokens)],
    )


def texts_of(output: Any) -> list[str]:
    """The continuations in the output of the task: of a text, of several, of several drawn for each."""
    if isinstance(output, str):
        return [output]
    if isinstance(output, list):
        return [text for each in output for text in texts_of(each)]
    return [output["content"]]
