"""What `/v1/messages` and `/v1/messages/count_tokens` read. Only describes: `surfaces.anthropic` speaks it.

Source: https://docs.anthropic.com/en/api/messages, and the types of the package `anthropic`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from modelyard.gateway.shapes.anthropic.tools import JsonForm, OfferedTool, OutputConfig, ToolChoice
from modelyard.gateway.shapes.base import Fallbacks, SnakeShape, described


class AnthropicMessage(SnakeShape, frozen=True, kw_only=True):
    """One message of a conversation."""

    role: Annotated[Literal["user", "assistant", "system"], described("Who speaks.")]
    content: Annotated[
        str | list[dict[str, Any]],
        described(
            "A text, or blocks: text, image, document (of text), search_result, thinking, tool_use, tool_result.",
            accepted="a text, or a list of blocks",
        ),
    ]


class ThinkingConfig(SnakeShape, frozen=True, kw_only=True):
    """How a model that thinks before it answers is to do so."""

    type: Annotated[
        Literal["enabled", "adaptive", "between_tools", "disabled"],
        described(
            "disabled: no thinking is shown, nor made where the model's chat template has a switch for it; else it is "
            "both."
        ),
    ]
    budget_tokens: Annotated[int | None, described("Has no effect: thinking counts against max_tokens.")] = None
    display: Annotated[
        Literal["summarized", "omitted"] | None,
        described("omitted: blocks of thinking are empty."),
    ] = None


class CountBody(SnakeShape, frozen=True, kw_only=True):
    """A conversation. Fields that are not here are left alone, as Anthropic's clients add some of their own."""

    model: Annotated[str, described("The model, org/name.", accepted="org/name")]
    messages: Annotated[
        list[AnthropicMessage],
        Meta(min_length=1),
        described("The conversation so far, oldest first.", accepted="a list of messages that is not empty"),
    ]
    system: Annotated[
        str | list[dict[str, Any]] | None,
        described("What the model is told first: a text, or blocks of text.", accepted="a text, or blocks of text"),
    ] = None
    tools: Annotated[
        list[OfferedTool] | None,
        described(
            "Functions that the model may call, where its chat template knows them.",
            accepted="a list of tools, each with a name and an input_schema",
        ),
    ] = None
    tool_choice: Annotated[ToolChoice | None, described("Whether it has to; without it auto.")] = None
    thinking: Annotated[
        ThinkingConfig | None,
        described("Whether the model thinks before it answers; without it not, where its chat template has a switch."),
    ] = None
    thread: Annotated[
        dict[str, Any] | None,
        described("Refused: this server keeps no conversations. Clients go on by sending whole ones.", accepted="none"),
    ] = None
    compaction: Annotated[None, described("None: conversations are not put into fewer words here.")] = None
    mcp_servers: Annotated[
        Annotated[list[Any], Meta(max_length=0)] | None,
        described("None: servers of tools are the client's to call.", accepted="an empty list: call them yourself"),
    ] = None


class MessagesBody(CountBody, frozen=True, kw_only=True):
    """A conversation to answer."""

    models: Fallbacks = None
    max_tokens: Annotated[int, Meta(ge=1, le=1_000_000), described("Most tokens to make.")]
    stream: Annotated[bool, described("Send the answer as events, as it is made.")] = False
    temperature: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        described("0 takes the likeliest token; by default as the model says.", accepted="a number from 0 to 1"),
    ] = None
    top_p: Annotated[
        Annotated[float, Meta(gt=0, le=1)] | None,
        described("Draw among the likeliest tokens of this share.", accepted="a number above 0, at most 1"),
    ] = None
    top_k: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000)] | None, described("Draw among so many of the likeliest tokens.")
    ] = None
    stop_sequences: Annotated[
        Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=16)] | None,
        described("Where the answer ends.", accepted="up to 16 texts, none empty"),
    ] = None
    output_config: Annotated[OutputConfig | None, described("How the answer is to be.", accepted="an object")] = None
    output_format: Annotated[
        JsonForm | None, described("The same as output_config.format, as older clients send it.", accepted="an object")
    ] = None
    metadata: Annotated[Any, described("Has no effect here.")] = None
