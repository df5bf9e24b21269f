"""Calls a server through LiteLLM, by each provider that has a base URL of its own; prints what came of it as JSON.

Standard input: the server's URL, the key and the cases wanted, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the net for prices as it is imported

import litellm
from litellm.llms.bytez.chat import transformation as hosted

litellm.suppress_debug_info = True
GIVEN = json.load(sys.stdin)
URL, KEY = GIVEN["url"], GIVEN["key"]
hosted.API_BASE = f"{URL}/models/v2"  # the one provider whose base is fixed
HELLO = [{"role": "user", "content": "hello"}]
CITY = {
    "type": "object",
    "properties": {"city": {"enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Now.", "parameters": CITY}}]
NAMED = {"type": "function", "function": {"name": "get_weather"}}
FORM = {"type": "json_schema", "json_schema": {"name": "place", "strict": True, "schema": CITY}}


def at(provider: str, model: str) -> dict[str, Any]:
    """How the provider names the model, and where it is."""
    bases = {"openai": f"{URL}/v1", "anthropic": URL, "huggingface": f"{URL}/hf/{model}", "bytez": None}
    return {"model": f"{provider}/{model}", "api_base": bases[provider], "api_key": KEY}


def chat(provider: str) -> Any:
    """What is said at once, why it ended, and what it took."""
    answer = litellm.completion(**at(provider, "tiny/chat"), messages=HELLO, max_tokens=12, temperature=0)
    (choice,) = answer.choices
    return [choice.message.content, choice.finish_reason, answer.usage.prompt_tokens, answer.usage.completion_tokens]


def stream(provider: str) -> Any:
    """What is said piece by piece."""
    chunks = list(
        litellm.completion(**at(provider, "tiny/chat"), messages=HELLO, max_tokens=12, temperature=0, stream=True)
    )
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def later(provider: str) -> Any:
    """The same by its asynchronous calls: at once, and piece by piece."""

    async def ask() -> list[str]:
        asked: dict[str, Any] = {**at(provider, "tiny/chat"), "messages": HELLO, "max_tokens": 12, "temperature": 0}
        answer = await litellm.acompletion(**asked)
        chunks = [chunk async for chunk in await litellm.acompletion(**asked, stream=True)]
        pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        return [answer.choices[0].message.content, "".join(pieces)]

    return asyncio.run(ask())


def tools(provider: str) -> Any:
    """A call, and the answer to its result."""
    asked = {**at(provider, "scripted/agent"), "tools": TOOLS, "max_tokens": 200}
    (choice,) = litellm.completion(**asked, messages=HELLO).choices
    (call,) = choice.message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
    (last,) = litellm.completion(**asked, messages=[*HELLO, choice.message.model_dump(), result]).choices
    chunks = list(litellm.completion(**asked, messages=HELLO, stream=True))
    (told,) = litellm.stream_chunk_builder(chunks).choices
    return [show(choice), show(told), last.message.content, last.finish_reason]


def show(choice: Any) -> Any:
    """What a choice says and calls."""
    (call,) = choice.message.tool_calls
    return [choice.message.content, call.function.name, json.loads(call.function.arguments), choice.finish_reason]


def forced(provider: str) -> Any:
    """A call that is demanded."""
    asked = {**at(provider, "scripted/agent"), "tools": TOOLS, "tool_choice": NAMED, "max_tokens": 200}
    (call,) = litellm.completion(**asked, messages=HELLO, temperature=0).choices[0].message.tool_calls
    return json.loads(call.function.arguments)


def form(provider: str) -> Any:
    """An answer by a schema."""
    asked = {**at(provider, "scripted/agent"), "response_format": FORM, "max_tokens": 200, "temperature": 0}
    return json.loads(litellm.completion(**asked, messages=HELLO).choices[0].message.content)


def vectors() -> Any:
    """Embeddings, by two providers."""
    texts = ["a cat", "a dog"]
    asked = [
        at("openai", "tiny/sentences"),
        {**at("huggingface", "tiny/sentences"), "input_type": "feature-extraction"},
    ]
    return [[each["embedding"] for each in litellm.embedding(**one, input=texts).data] for one in asked]


def rankings() -> Any:
    """Rankings, by Cohere's two APIs and Hugging Face's."""
    asked = {"query": "a cat", "documents": ["7", "a cat on a mat"], "top_n": 1, "api_key": KEY}
    places = [
        {"model": "cohere/tiny/ranker", "api_base": f"{URL}/v1/rerank"},
        {"model": "cohere/tiny/ranker", "api_base": f"{URL}/v2/rerank"},
        {"model": "huggingface/tiny/ranker", "api_base": f"{URL}/hf/tiny/ranker"},
    ]
    return [[each["index"] for each in litellm.rerank(**asked, **place).results] for place in places]


def media() -> Any:
    """A text continued, an image, a sound made and written down again."""
    text = litellm.text_completion(
        model="text-completion-openai/tiny/gpt2", prompt="hello", max_tokens=5, temperature=0, api_base=f"{URL}/v1",
        api_key=KEY,
    )  # fmt: skip
    image = litellm.image_generation(
        **at("openai", "tasks/text-to-image"), prompt="a cat", size="32x32",
        extra_body={"num_inference_steps": 1},
    )  # fmt: skip
    sound = litellm.speech(**at("openai", "tasks/text-to-speech"), input="hello", voice="alloy", response_format="wav")
    heard = litellm.transcription(**at("openai", "tasks/automatic-speech-recognition"), file=("a.wav", sound.content))
    return [
        text.choices[0].text,
        image.data[0].url,
        sound.content[:4].decode(),
        heard.text,
    ]


def errors() -> Any:
    """The classes of what is raised."""
    wrong = {
        "model": {**at("openai", "tiny/chap"), "messages": HELLO},
        "key": {**at("anthropic", "tiny/chat"), "messages": HELLO, "api_key": "nobody's"},
        "field": {**at("openai", "tiny/chat"), "messages": HELLO, "extra_body": {"colour": "red"}},
        "length": {**at("openai", "tiny/chat"), "messages": [{"role": "user", "content": "hello " * 500}]},
        "hosted": {**at("bytez", "tiny/chap"), "messages": HELLO},
    }
    raised = {}
    for name, asked in wrong.items():
        try:
            litellm.completion(**asked)
        except Exception as error:
            raised[name] = type(error).__name__
    return raised


CASES: dict[str, Callable[..., Any]] = {
    "chat": chat, "stream": stream, "later": later, "tools": tools, "forced": forced, "form": form, "vectors": vectors,
    "rankings": rankings, "media": media, "errors": errors,
}  # fmt: skip

print(json.dumps({name: CASES[name.split()[0]](*name.split()[1:]) for name in GIVEN["cases"]}))
