"""From Anthropic's messages to what closed models are asked: demanded calls and thinking are the provider's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelyard.gateway.shapes.anthropic.messages import CountBody

EFFORT = "medium"
"""How much a model is to think that is told to: Anthropic's budgets have no counterpart at others."""


def closed_params(body: CountBody, params: Mapping[str, Any], *, has_tools: bool) -> dict[str, Any]:
    """The params of a closed model. `params`: those of a model here."""
    given = {name: value for name, value in params.items() if name != "thinking"}
    if params.get("thinking"):
        given["reasoning_effort"] = EFFORT
    choice = body.tool_choice
    if choice is None or not has_tools:
        return given
    if choice.type in ("any", "tool"):
        given.pop("json_schema", None)  # which has a model here make the call
        named = {"type": "function", "function": {"name": choice.name}}
        given["tool_choice"] = "required" if choice.type == "any" else named
    if choice.disable_parallel_tool_use:
        given["parallel_tool_calls"] = False
    return given
