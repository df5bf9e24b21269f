"""From the functions that a conversation offers, and the form it wants, to the unified format; and calls back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.anthropic.answers import CalledBlock
from modelyard.gateway.shapes.anthropic.messages import CountBody, MessagesBody
from modelyard.gateway.shapes.anthropic.tools import OfferedTool
from modelyard.gateway.shapes.openai.tools import OfferedFunction
from modelyard.gateway.surfaces.openai.tools import describe_tool, name_function, schema_of_answer

DEMANDS = ("any", "tool")
"""Types of `tool_choice` by which the answer is a call."""


def tools_of(body: CountBody) -> dict[str, Any]:
    """The field `tools`, with what the model may call; empty when that is nothing.

    Raises InvalidRequest for a choice among tools that are not there.
    """
    tools, choice = body.tools or [], body.tool_choice
    names = [tool.name for tool in tools]
    if choice is not None and choice.type == "tool" and choice.name not in names:
        accepted = f"one of tools: {', '.join(names)}" if names else "a function of tools, which are missing"
        raise InvalidRequest(field="tool_choice.name", got=choice.name, accepted=accepted)
    if choice is not None and choice.type == "any" and not tools:
        raise InvalidRequest(field="tool_choice.type", got=choice.type, accepted="none or auto, as there are no tools")
    if not tools or (choice is not None and choice.type == "none"):
        return {}
    return {"tools": [describe_tool(as_function(tool)) for tool in tools]}


def as_function(tool: OfferedTool) -> OfferedFunction:
    """A function as OpenAI's clients describe it."""
    return OfferedFunction(name=tool.name, description=tool.description, parameters=tool.input_schema)


def form_of(body: MessagesBody) -> dict[str, Any]:
    """The param that holds the answer to the form wanted; empty where it is free. Raises InvalidRequest."""
    form = body.output_format if body.output_config is None else body.output_config.format or body.output_format
    calls = schema_of_calls(body)
    if calls is not None and form is not None:
        accepted = "none where tool_choice demands a call"
        raise InvalidRequest(field="output_config.format", got=msgspec.to_builtins(form), accepted=accepted)
    if calls is not None:
        return {"json_schema": calls}
    return {} if form is None else {"json_schema": form.schema}


def schema_of_calls(body: MessagesBody) -> dict[str, Any] | None:
    """The schema of an answer that is nothing but the calls that `tool_choice` demands; None where it demands none."""
    choice = body.tool_choice
    if choice is None or choice.type not in DEMANDS:
        return None
    functions = {
        tool.name: tool.input_schema for tool in body.tools or [] if choice.type == "any" or tool.name == choice.name
    }
    return schema_of_answer(functions, several=choice.type == "any" and not choice.disable_parallel_tool_use)


def name_tool(error: BaseException, body: CountBody) -> BaseException:
    """An error about the schema of demanded calls as one about the tool whose schema is wrong."""
    choice = body.tool_choice
    if choice is None or choice.type not in DEMANDS:
        return error
    chosen = choice.name if choice.type == "tool" else None
    return name_function(error, [tool.name for tool in body.tools or ()], chosen, "input_schema")


def show_calls(message: Mapping[str, Any], body: CountBody) -> list[CalledBlock]:
    """The calls of a message; the first alone where the request wants no more."""
    functions = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
    calls = [
        CalledBlock(id=id, name=function["name"], input=msgspec.json.decode(function["arguments"]))
        for id, function in functions
    ]
    return calls[:1] if wants_one_call(body) else calls


def wants_one_call(body: CountBody) -> bool:
    """Whether the answer is to make one call at most."""
    return body.tool_choice is not None and bool(body.tool_choice.disable_parallel_tool_use)
