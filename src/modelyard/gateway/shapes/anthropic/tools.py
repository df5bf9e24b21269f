"""Functions that a conversation offers, and the form an answer is wanted in, as Anthropic's clients write them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.gateway.shapes.base import SnakeShape, described

Schema = dict[str, Any]


class OfferedTool(SnakeShape, frozen=True, kw_only=True):
    """A function that the model may call, and the client runs."""

    type: Annotated[
        Literal["custom"] | None,
        described(
            "custom: the client has defined it. Tools that Anthropic defines or runs are not here.",
            accepted='"custom": a tool with an input_schema of its own, as no other kind is known here',
        ),
    ] = None
    name: Annotated[str, Meta(min_length=1), described("Its name.", accepted="a text that is not empty")]
    description: Annotated[str | None, described("What it does, for the model to read.")] = None
    input_schema: Annotated[Schema, described("Its arguments, as a JSON schema.", accepted="a JSON schema")]
    strict: Annotated[
        bool | None, described("Has no effect: calls that tool_choice demands always fit their schema.")
    ] = None


class ToolChoice(SnakeShape, frozen=True, kw_only=True):
    """Whether the model has to call a function, and which."""

    type: Annotated[
        Literal["auto", "any", "tool", "none"],
        described(
            "auto: the model calls or answers; any: it calls at least one; tool: it calls the one that `name` says; "
            "none: it is not told of the tools. A call that is demanded always fits its function's schema."
        ),
    ]
    name: Annotated[str | None, described("With tool: which one.")] = None
    disable_parallel_tool_use: Annotated[bool, described("Call one function at most; further calls are left out.")] = (
        False
    )


class JsonForm(SnakeShape, frozen=True, kw_only=True):
    """The form of an answer in JSON."""

    type: Annotated[Literal["json_schema"], described("Always json_schema.", accepted='"json_schema"')]
    schema: Annotated[Schema, described("The schema, which the answer always fits.", accepted="a JSON schema")]


class OutputConfig(SnakeShape, frozen=True, kw_only=True):
    """How the answer is to be."""

    format: Annotated[JsonForm | None, described("The form that it is wanted in; null: a text.")] = None
    effort: Annotated[str | None, described("Has no effect here.")] = None
