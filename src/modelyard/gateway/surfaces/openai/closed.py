"""From OpenAI's chat to what closed models are asked: its own settings go on as they are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.gateway.shapes.openai.chat import ChatBody
from modelyard.gateway.surfaces.openai.tools import schema_of_format, tools_of
from modelyard.gateway.surfaces.openai.writing import settings_of


def closed_fields(body: ChatBody, extras: Mapping[str, Any], most_tokens: int | None) -> dict[str, Any]:
    """The unified body of a conversation. Raises InvalidRequest."""
    tools = tools_of(body)
    params = {
        **extras,
        **settings_of(body, most_tokens),
        "num_return_sequences": body.n,
        "logprobs": body.logprobs or None,
        "top_logprobs": body.top_logprobs if body.logprobs else None,
        "tool_choice": msgspec.to_builtins(body.tool_choice) if tools else None,
        "parallel_tool_calls": body.parallel_tool_calls if tools else None,
        "json_schema": schema_of_format(body.response_format),
        "reasoning_effort": body.reasoning_effort,
    }
    given = {name: value for name, value in params.items() if value is not None}
    return {"messages": body.messages, **tools, "params": given, "stream": body.stream and (body.n or 1) == 1}
