"""What Anthropic's calls have in common: how a conversation is read, how an event looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.anthropic.base import AnthropicError
from modelyard.gateway.shapes.anthropic.messages import CountBody
from modelyard.gateway.surfaces.anthropic.closed import closed_params
from modelyard.gateway.surfaces.anthropic.conversation import conversation_of
from modelyard.gateway.surfaces.anthropic.events import BlockStream, event
from modelyard.gateway.surfaces.anthropic.tools import name_tool, tools_of
from modelyard.gateway.surfaces.base import UnifiedBody
from modelyard.gateway.surfaces.foreign import ForeignSurface, refuse_task
from modelyard.gateway.surfaces.openai import chat
from modelyard.http.exchange import HttpExchange
from modelyard.records.providers import CHAT
from modelyard.tasks.base import Task

NO_THREADS = "thread_unsupported_request"
"""By which clients know to send whole conversations from now on."""


class Asked(msgspec.Struct):
    """A request as it is answered. `stream`: the blocks that have been sent, once there was one."""

    body: Any
    stream: BlockStream = msgspec.field(default_factory=BlockStream)


class AnthropicSurface(ForeignSurface):
    """See the module."""

    name = "anthropic"
    asks = CHAT
    error_shape = AnthropicError
    shape: ClassVar[type[CountBody]]
    names: ClassVar[Mapping[str, str]] = {
        "params.max_new_tokens": "max_tokens", "params.stop": "stop_sequences", "text": "messages",
        "params.json_schema": "output_config.format.schema",
    }  # fmt: skip

    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """The conversation; fields of the body that are not known are left alone."""
        body, _ = await self.read_json(http, self.shape)
        if body.thread is not None:
            accepted = "none: send the whole conversation, as this server keeps none"
            raise InvalidRequest(field="thread", got=body.thread, accepted=accepted, error_code=NO_THREADS)
        return UnifiedBody(body.model, {}, Asked(body), getattr(body, "models", None))

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """See Surface."""
        if task.id not in chat.TASKS:
            raise refuse_task(task, " or ".join(chat.TASKS))
        body, tools = read.asked.body, tools_of(read.asked.body)
        params = self.params(body)
        return {
            "messages": conversation_of(body),
            **tools,
            "params": closed_params(body, params, has_tools=bool(tools)) if task.closed else params,
            "stream": getattr(body, "stream", False),
        }

    def params(self, body: Any) -> Mapping[str, Any]:
        """The task's params: for the count, as little as can be made."""
        return {"max_new_tokens": 1, "thinking": thinks(body)}

    def rename(self, error: BaseException, asked: Any) -> BaseException:
        """See ForeignSurface; what is wrong with a call that is demanded is wrong with its tool."""
        return super().rename(error if asked is None else name_tool(error, asked.body), asked)

    def frame(self, data: Any) -> bytes:
        """One event, named by its type."""
        return event(data)


def thinks(body: CountBody) -> bool:
    """Whether the model is to think before it answers, and to show it."""
    return body.thinking is not None and body.thinking.type != "disabled"
