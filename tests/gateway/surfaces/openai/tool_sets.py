"""Sets of functions as clients offer them, drawn from a seed, and what must hold of calls that are demanded."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema

from tests.builders.schemas import draw_object
from tests.later import Later

openai = Later("openai")

NAMES = ("get_weather", "search", "send_mail", "book-flight", "f", "list_files_2")
LONGEST = 4000
"""Tokens: more than eight calls with the longest arguments have, each letter a token."""


def draw_tools(seed: int) -> list[Any]:
    """One to four functions, each with arguments of its own."""
    draw = random.Random(seed)
    return [
        {"type": "function", "function": {"name": name, "description": "Do it.", "parameters": draw_object(draw, 2)}}
        for name in draw.sample(NAMES, draw.randint(1, 4))
    ]


def check_calls(client: openai.OpenAI, model: str, seed: int, **settings: Any) -> None:
    """Every call that a demanding request gets is of a function offered, with arguments by its schema; the deltas of
    the same request streamed, put together, are the same calls."""
    tools = draw_tools(seed)
    parameters = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": "Do something."}],
        "tools": tools,
        "tool_choice": "required",
        "max_tokens": LONGEST,
        "seed": seed,
        **settings,
    }
    # A prompt that llama.cpp has in its cache is read in other pieces than a new one, which 4 bits can decide a tie by.
    client.chat.completions.create(**{**asked, "max_tokens": 1})
    (choice,) = client.chat.completions.create(**asked).choices
    assert choice.finish_reason == "tool_calls", (seed, choice)
    calls = choice.message.tool_calls or []
    assert calls, seed
    for call in calls:
        assert call.type == "function"
        jsonschema.validate(json.loads(call.function.arguments), parameters[call.function.name])
    assert put_together(client, asked) == [(call.function.name, call.function.arguments) for call in calls], seed


def put_together(client: openai.OpenAI, asked: dict[str, Any]) -> list[tuple[str, str]]:
    """The calls of the same request streamed, from their deltas by OpenAI's own rules: the first of a call has its id
    and name, all have its index."""
    names: list[str] = []
    arguments: list[str] = []
    ends = []
    for chunk in client.chat.completions.create(**asked, stream=True):
        (choice,) = chunk.choices
        ends += [choice.finish_reason] if choice.finish_reason else []
        for delta in choice.delta.tool_calls or ():
            assert delta.function is not None
            if delta.index == len(names):
                assert delta.id
                assert delta.type == "function"
                names.append(delta.function.name or "")
                arguments.append("")
            assert delta.index == len(names) - 1
            arguments[delta.index] += delta.function.arguments or ""
    assert ends == ["tool_calls"]
    return list(zip(names, arguments, strict=True))
