"""From the functions that a conversation offers, and the form it wants, to the unified format; and calls back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.openai.chat import ChatBody
from modelyard.gateway.shapes.openai.tools import CalledFunction, CalledTool, NamedTool, Tool

ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
MOST_CALLS = 8
"""In one answer that has to call: a model that finds no end would call until its tokens are spent."""


def tools_of(body: ChatBody) -> dict[str, Any]:
    """The field `tools`, with what the model may call; empty when that is nothing.

    Raises InvalidRequest for a choice among tools that are not there.
    """
    tools, choice = body.tools or [], body.tool_choice
    names = [tool.function.name for tool in tools]
    if isinstance(choice, NamedTool) and choice.function.name not in names:
        accepted = f"one of tools: {', '.join(names)}" if names else "a function of tools, which are missing"
        raise InvalidRequest(field="tool_choice", got=choice.function.name, accepted=accepted)
    if choice == "required" and not tools:
        raise InvalidRequest(field="tool_choice", got=choice, accepted="none or auto, as there are no tools")
    return {} if choice == "none" or not tools else {"tools": [msgspec.to_builtins(tool) for tool in tools]}


def form_of(body: ChatBody) -> dict[str, Any]:
    """The param that holds the answer to the form wanted; empty where it is free. Raises InvalidRequest."""
    wanted = body.response_format
    schema = None if wanted is None or wanted.json_schema is None else wanted.json_schema.schema
    if wanted is not None and (wanted.type == "json_schema") != (schema is not None):
        accepted = "a schema with json_schema, and none with any other type"
        raise InvalidRequest(field="response_format.json_schema", got=schema, accepted=accepted)
    if wanted is not None and wanted.type == "json_object":
        schema = dict(ANY_OBJECT)
    if (calls := schema_of_calls(body)) is None:
        return {} if schema is None else {"json_schema": schema}
    if schema is not None:
        raise InvalidRequest(field="response_format", got=wanted, accepted="text where tool_choice demands a call")
    return {"json_schema": calls}


def schema_of_calls(body: ChatBody) -> dict[str, Any] | None:
    """The schema of an answer that is nothing but the calls that `tool_choice` demands; None where it demands none."""
    choice = body.tool_choice
    if isinstance(choice, NamedTool):
        return schema_of_call(next(tool for tool in body.tools or [] if tool.function.name == choice.function.name))
    if choice != "required":
        return None
    calls = {"anyOf": [schema_of_call(tool) for tool in body.tools or []]}
    if body.parallel_tool_calls is False:
        return calls
    return {"type": "array", "items": calls, "minItems": 1, "maxItems": MOST_CALLS}


def schema_of_call(tool: Tool) -> dict[str, Any]:
    """The schema of one call of a function."""
    properties = {"name": {"const": tool.function.name}, "arguments": tool.function.parameters or dict(ANY_OBJECT)}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def show_calls(message: Mapping[str, Any]) -> list[CalledTool]:
    """The calls of a message, whole."""
    return [
        CalledTool(id=call["id"], type="function", function=CalledFunction(**call["function"]))
        for call in message.get("tool_calls", ())
    ]


def split_calls(calls: Sequence[CalledTool]) -> list[CalledTool]:
    """Calls as a stream carries them: of each who is called, then with what."""
    return [
        part
        for index, call in enumerate(calls)
        for part in (
            CalledTool(
                index=index, id=call.id, type=call.type, function=CalledFunction(name=call.function.name, arguments="")
            ),
            CalledTool(index=index, function=CalledFunction(arguments=call.function.arguments)),
        )
    ]
