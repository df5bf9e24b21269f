"""From the functions that a conversation offers, and the form it wants, to the unified format; and calls back. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from modelyard.errors import InvalidRequest
from modelyard.gateway.shapes.openai.chat import ChatBody
from modelyard.gateway.shapes.openai.tools import (
    CalledFunction,
    CalledTool,
    NamedTool,
    OfferedFunction,
    ResponseFormat,
)

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
    return {} if choice == "none" or not tools else {"tools": [describe_tool(tool.function) for tool in tools]}


def describe_tool(function: OfferedFunction) -> dict[str, Any]:
    """A function as templates read it: without what is not said of it, which they would print as null."""
    said = {name: value for name, value in msgspec.to_builtins(function).items() if value is not None}
    return {"type": "function", "function": said}


def form_of(body: ChatBody) -> dict[str, Any]:
    """The param that holds the answer to the form wanted; empty where it is free. Raises InvalidRequest."""
    wanted = body.response_format
    schema = schema_of_format(wanted)
    if (calls := schema_of_calls(body)) is None:
        return {} if schema is None else {"json_schema": schema}
    if schema is not None:
        raise InvalidRequest(field="response_format", got=wanted, accepted="text where tool_choice demands a call")
    return {"json_schema": calls}


def schema_of_format(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema that an answer in this form fits; None: text. Raises InvalidRequest."""
    if wanted is None:
        return None
    schema = None if wanted.json_schema is None else wanted.json_schema.schema
    if (wanted.type == "json_schema") != (schema is not None):
        accepted = "a schema with json_schema, and none with any other type"
        raise InvalidRequest(field="response_format.json_schema", got=schema, accepted=accepted)
    inside = wanted.value or wanted.schema
    if wanted.type == "json_object":
        return inside or dict(ANY_OBJECT)
    if inside is not None:
        raise InvalidRequest(field="response_format.schema", got=inside, accepted="a schema here with json_object")
    return schema


def schema_of_calls(body: ChatBody) -> dict[str, Any] | None:
    """The schema of an answer that is nothing but the calls that `tool_choice` demands; None where it demands none."""
    choice = body.tool_choice
    functions: dict[str, Mapping[str, Any]] = {
        tool.function.name: tool.function.parameters or ANY_OBJECT for tool in body.tools or []
    }
    if isinstance(choice, NamedTool):
        name = choice.function.name
        return schema_of_answer({name: functions[name]}, several=False)
    if choice != "required":
        return None
    return schema_of_answer(functions, several=body.parallel_tool_calls is not False)


def schema_of_answer(functions: Mapping[str, Mapping[str, Any]], *, several: bool) -> dict[str, Any]:
    """The schema of an answer that is nothing but calls of these functions, by name with the schemas of their
    arguments: one call, or with `several` a list."""
    shared = {str(at): below(schema, f"#/$defs/{at}") for at, schema in enumerate(functions.values()) if refers(schema)}
    arguments = [
        {"$ref": f"#/$defs/{at}"} if str(at) in shared else dict(schema) for at, schema in enumerate(functions.values())
    ]
    calls = [schema_of_call(name, each) for name, each in zip(functions, arguments, strict=True)]
    one = calls[0] if len(calls) == 1 else {"anyOf": calls}
    whole = {"type": "array", "items": one, "minItems": 1, "maxItems": MOST_CALLS} if several else one
    return {**whole, "$defs": shared} if shared else whole


def schema_of_call(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of one call of a function."""
    properties = {"name": {"const": name}, "arguments": arguments}
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


CALLED = re.compile(r"(?:/items)?(?:/anyOf/(\d+))?/properties/arguments")
"""The place of a function's arguments in the schema of an answer."""


def name_tool(error: BaseException, body: ChatBody, parameters: str) -> BaseException:
    """An error about the schema of demanded calls as one about the function whose schema is wrong. `parameters`: see
    `name_function`."""
    if schema_of_calls(body) is None:
        return error
    chosen = body.tool_choice.function.name if isinstance(body.tool_choice, NamedTool) else None
    return name_function(error, [tool.function.name for tool in body.tools or ()], chosen, parameters)


def name_function(error: BaseException, names: Sequence[str], chosen: str | None, parameters: str) -> BaseException:
    """An error about the schema of `schema_of_answer` as one about a tool. `names`: of all tools. `chosen`: the one
    that has to be called; None: any. `parameters`: what is behind the tool in the name of its schema."""
    if not isinstance(error, InvalidRequest) or error.data.get("field") != "params.json_schema":
        return error
    place = str(error.data.get("place") or "")
    found = CALLED.match(place)
    at = 0 if chosen is None else names.index(chosen)
    field = f"tools[{int(found[1] or at)}].{parameters}" if found else "tools"
    inside = place[found.end() :] if found else place
    said = error.message.partition(": ")[2].replace(f"at {place}: ", f"at {inside}: " if inside else "")
    return InvalidRequest(f"{field}: {said}", detail=error.detail, field=field)


def refers(schema: Any) -> bool:
    """Whether a schema refers to a part of itself."""
    if isinstance(schema, dict):
        return isinstance(schema.get("$ref"), str) or any(refers(each) for each in schema.values())
    return isinstance(schema, list) and any(refers(each) for each in schema)


def below(schema: Any, root: str) -> Any:
    """A schema that stands at `root` of another one: what it refers to in itself is there now."""
    if isinstance(schema, list):
        return [below(each, root) for each in schema]
    if not isinstance(schema, dict):
        return schema
    moved = {name: below(each, root) for name, each in schema.items()}
    target = schema.get("$ref")
    is_own = isinstance(target, str) and (target == "#" or target.startswith("#/"))
    return {**moved, "$ref": root + str(target).removeprefix("#")} if is_own else moved


def show_calls(message: Mapping[str, Any]) -> list[CalledTool]:
    """The calls of a message, whole."""
    return [
        CalledTool(id=call["id"], type="function", function=CalledFunction(**call["function"]))
        for call in message.get("tool_calls", ())
    ]


def split_calls(calls: Sequence[CalledTool], told: int = 0) -> list[CalledTool]:
    """Calls as a stream carries them: of each who is called, then with what. `told`: how many of them were told."""
    return [
        part
        for index, call in enumerate(calls[told:], told)
        for part in (
            CalledTool(
                index=index, id=call.id, type=call.type, function=CalledFunction(name=call.function.name, arguments="")
            ),
            CalledTool(index=index, function=CalledFunction(arguments=call.function.arguments)),
        )
    ]
