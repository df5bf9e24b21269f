"""Calls a server through LangChain's classes for OpenAI and Hugging Face; prints what came of it as JSON.

Standard input: the server's URL, the key and the cases wanted, as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any, Literal

import pydantic
from huggingface_hub import InferenceClient
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_huggingface import ChatHuggingFace, HuggingFaceEndpoint, HuggingFaceEndpointEmbeddings
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings

GIVEN = json.load(sys.stdin)
URL, KEY = GIVEN["url"], GIVEN["key"]
HELLO = "hello"


class Place(pydantic.BaseModel, extra="forbid"):
    """Where."""

    city: Literal["Paris", "Rome"]
    warm: bool


@tool
def get_weather(city: Literal["Paris", "Rome"]) -> str:
    """Now."""
    return f"21 degrees in {city}"


def openai(model: str = "tiny/chat", **more: Any) -> ChatOpenAI:
    """OpenAI's chat class."""
    return ChatOpenAI(model=model, base_url=f"{URL}/v1", api_key=KEY, temperature=0, **{"max_tokens": 12, **more})


def endpoint(model: str, **more: Any) -> HuggingFaceEndpoint:
    """Hugging Face's endpoint, which sends no key to hosts that are not Hugging Face's but in a header."""
    headers = {"Authorization": f"Bearer {KEY}"}
    return HuggingFaceEndpoint(
        endpoint_url=f"{URL}/hf/{model}", server_kwargs={"headers": headers}, do_sample=False, temperature=None,
        **{"max_new_tokens": 12, **more},
    )  # fmt: skip


def huggingface(model: str = "tiny/chat", **more: Any) -> ChatHuggingFace:
    """Hugging Face's chat class, on such an endpoint."""
    return ChatHuggingFace(llm=endpoint(model, **more), model_id=model, tokenizer=object(), temperature=0.0)


CHATS: dict[str, Callable[..., Any]] = {"openai": openai, "huggingface": huggingface}
LENGTHS = {"openai": "max_tokens", "huggingface": "max_new_tokens"}


def chat(which: str) -> Any:
    """What is said at once, piece by piece, and to an asynchronous caller; what it took."""
    model = CHATS[which]()
    messages = [SystemMessage("be brief"), HumanMessage(HELLO)]
    whole = model.invoke(messages)
    pieces = "".join(str(each.content) for each in model.stream(messages))
    later = asyncio.run(model.ainvoke(messages)).content
    usage = whole.usage_metadata or {}
    return [whole.content, pieces, later, usage.get("input_tokens"), usage.get("output_tokens")]


def tools(which: str) -> Any:
    """Calls, at once and streamed, and the answer to their results."""
    model = CHATS[which]("scripted/agent", **{LENGTHS[which]: 200}).bind_tools([get_weather])
    first = model.invoke(HELLO)
    results = [get_weather.invoke(call) for call in first.tool_calls]
    told: Any = None
    for chunk in model.stream(HELLO):
        told = chunk if told is None else told + chunk
    last = model.invoke([HumanMessage(HELLO), first, *results])
    return [show(first), show(told), last.content]


def show(message: Any) -> Any:
    """What a message says and calls."""
    return [message.content, [[call["name"], call["args"]] for call in message.tool_calls]]


def forced(which: str) -> Any:
    """A call that is demanded."""
    model = CHATS[which]("scripted/agent", **{LENGTHS[which]: 200})
    (call,) = model.bind_tools([Place], tool_choice="Place").invoke(HELLO).tool_calls
    return Place.model_validate(call["args"]).city


def form(which: str) -> Any:
    """Answers by a schema, by each method that the class has."""
    model = CHATS[which]("scripted/agent", **{LENGTHS[which]: 300})
    schema = Place if which == "openai" else Place.model_json_schema()
    made = [
        model.with_structured_output(schema, method=method).invoke(HELLO)
        for method in ("json_schema", "function_calling")
    ]
    return [Place.model_validate(each).city for each in made]


def texts() -> Any:
    """A text continued, by either library, at once and piece by piece."""
    models = [
        OpenAI(model="tiny/gpt2", base_url=f"{URL}/v1", api_key=KEY, max_tokens=8, temperature=0),
        endpoint("tiny/gpt2", max_new_tokens=8),
    ]
    return [[model.invoke(HELLO), "".join(model.stream(HELLO))] for model in models]


def vectors() -> Any:
    """Embeddings, by either library; and what becomes of ids of another tokenizer."""
    asked: dict[str, Any] = {"model": "tiny/sentences", "base_url": f"{URL}/v1", "api_key": KEY}
    plain = OpenAIEmbeddings(**asked, check_embedding_ctx_length=False)
    shorter = OpenAIEmbeddings(**asked, check_embedding_ctx_length=False, dimensions=8)
    other = HuggingFaceEndpointEmbeddings(model="tiny/sentences")
    other.client = InferenceClient(f"{URL}/hf/tiny/sentences", token=KEY)  # the class itself takes no URL
    texts = ["a cat", "a dog"]
    return [plain.embed_documents(texts), [plain.embed_query(text) for text in texts], other.embed_documents(texts),
            [len(vector) for vector in shorter.embed_documents(texts)]]  # fmt: skip


CASES: dict[str, Callable[..., Any]] = {
    "chat": chat, "tools": tools, "forced": forced, "form": form, "texts": texts, "vectors": vectors,
}  # fmt: skip

print(json.dumps({name: CASES[name.split()[0]](*name.split()[1:]) for name in GIVEN["cases"]}))
