"""Functions that a conversation offers and an answer calls, and the form an answer is wanted in. Only describes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from modelyard.gateway.shapes.base import described
from modelyard.gateway.shapes.openai.base import OpenAIShape

Schema = dict[str, Any]


class OfferedFunction(OpenAIShape, frozen=True, kw_only=True):
    """A function that the model may call."""

    name: Annotated[str, Meta(min_length=1), described("Its name.", accepted="a text that is not empty")]
    description: Annotated[str | None, described("What it does, for the model to read.")] = None
    parameters: Annotated[Schema | None, described("Its arguments, as a JSON schema.", accepted="a JSON schema")] = None
    strict: Annotated[
        bool | None, described("Has no effect: calls that tool_choice demands always fit their schema.")
    ] = None


class Tool(OpenAIShape, frozen=True, kw_only=True):
    """What the model may call."""

    type: Annotated[Literal["function"], described("Always function.", accepted='"function"')]
    function: Annotated[OfferedFunction, described("The function.")]


class FunctionName(OpenAIShape, frozen=True, kw_only=True):
    """One of the functions offered."""

    name: Annotated[str, described("Its name.")]


class NamedTool(OpenAIShape, frozen=True, kw_only=True):
    """The function that the model has to call."""

    type: Annotated[
        Literal["function"], described("Always function; Hugging Face's clients leave it out.", accepted='"function"')
    ] = "function"
    function: Annotated[FunctionName, described("Which one.")]


class JsonForm(OpenAIShape, frozen=True, kw_only=True):
    """The schema of an answer."""

    name: Annotated[str, described("What it is called; the model does not see it.")]
    schema: Annotated[Schema, described("The JSON schema, which the answer always fits.", accepted="a JSON schema")]
    description: Annotated[str | None, described("What it is for; the model does not see it.")] = None
    strict: Annotated[bool | None, described("Has no effect: the answer always fits the schema.")] = None


class ResponseFormat(OpenAIShape, frozen=True, kw_only=True):
    """In what form the answer is wanted."""

    type: Annotated[
        Literal["text", "json_object", "json_schema"],
        described("text; json_object: any JSON object; json_schema: JSON that fits a schema."),
    ]
    json_schema: Annotated[JsonForm | None, described("With json_schema: the schema.")] = None
    value: Annotated[
        Schema | None,
        described("With json_object: a schema, as Hugging Face's clients send it.", accepted="a JSON schema"),
    ] = None
    schema: Annotated[
        Schema | None, described("The same, as llama.cpp's clients send it.", accepted="a JSON schema")
    ] = None


class CalledFunction(OpenAIShape, frozen=True, kw_only=True):
    """A function that the model calls."""

    name: Annotated[str | UnsetType, described("Its name; in a stream in the call's first event.")] = UNSET
    arguments: Annotated[str, described("Its arguments, as JSON; in a stream a part of it.")]


class CalledTool(OpenAIShape, frozen=True, kw_only=True):
    """A call. `index`: in a stream, which of the calls."""

    index: Annotated[int | UnsetType, described("In a stream: which of the calls, from 0.")] = UNSET
    id: Annotated[str | UnsetType, described("Names the call; in a stream in its first event.")] = UNSET
    type: Annotated[Literal["function"] | UnsetType, described("Always function.")] = UNSET
    function: Annotated[CalledFunction, described("The function.")]
