"""Has Instructor make objects of a server's answers, in each of its modes; prints what came of it as JSON.

Standard input: the server's URL, the key and the cases wanted, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any, Literal

import pydantic

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the net for prices as it is imported

import anthropic
import instructor
import openai
from instructor import Mode

GIVEN = json.load(sys.stdin)
URL, KEY = GIVEN["url"], GIVEN["key"]
WRITER, CALLER = "scripted/json", "scripted/agent"
HELLO = [{"role": "user", "content": "Where is it warm?"}]


class Place(pydantic.BaseModel, extra="forbid"):
    """Where."""

    city: Literal["Paris", "Rome"]
    warm: bool


class Trip(pydantic.BaseModel, extra="forbid"):
    """Where to."""

    to: Place
    by: Literal["train", "foot"]


ASKED: dict[str, Any] = {"messages": HELLO, "max_tokens": 400, "max_retries": 0}
openai_client = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY)


def made(mode: str, model: str = CALLER) -> Any:
    """An object in a mode of OpenAI's API."""
    client = instructor.from_openai(openai_client, mode=Mode[mode])
    return client.chat.completions.create(**ASKED, model=model, response_model=Place, temperature=0).model_dump()


def written(mode: str) -> Any:
    """The same, of a model that writes it without being held to it."""
    return made(mode, WRITER)


def nested() -> Any:
    """An object inside another one, whose schema refers to it; the tokens it took."""
    client = instructor.from_openai(openai_client, mode=Mode.TOOLS)
    trip, answer = client.chat.completions.create_with_completion(**ASKED, model=CALLER, response_model=Trip)
    return [trip.to.city in ("Paris", "Rome"), answer.usage.completion_tokens > 0]


def growing(mode: str) -> Any:
    """An object as it grows, at its end, and how often it had."""
    client = instructor.from_openai(openai_client, mode=Mode[mode])
    parts = list(client.chat.completions.create_partial(**ASKED, model=CALLER, response_model=Place, temperature=0))
    return [parts[-1].model_dump(), len(parts) > 1]


def later() -> Any:
    """An object for an asynchronous caller."""
    client = instructor.from_openai(openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY), mode=Mode.JSON_SCHEMA)
    return asyncio.run(
        client.chat.completions.create(**ASKED, model=CALLER, response_model=Place, temperature=0)
    ).model_dump()


def anthropics(mode: str) -> Any:
    """An object in a mode of Anthropic's API."""
    client = instructor.from_anthropic(anthropic.Anthropic(base_url=URL, api_key=KEY), mode=Mode[mode])
    model = CALLER if mode == "ANTHROPIC_TOOLS" else WRITER
    return client.messages.create(**ASKED, model=model, response_model=Place).model_dump()


def through_litellm() -> Any:
    """An object by way of LiteLLM."""
    import litellm

    client = instructor.from_litellm(litellm.completion, mode=Mode.TOOLS)
    asked = {**ASKED, "model": f"openai/{CALLER}", "api_base": f"{URL}/v1", "api_key": KEY, "temperature": 0}
    return client.chat.completions.create(**asked, response_model=Place).model_dump()


CASES: dict[str, Callable[..., Any]] = {
    "made": made, "written": written, "nested": nested, "growing": growing, "later": later, "anthropics": anthropics,
    "litellm": through_litellm,
}  # fmt: skip

print(json.dumps({name: CASES[name.split()[0]](*name.split()[1:]) for name in GIVEN["cases"]}))
