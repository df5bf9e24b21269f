"""Anthropic's own client, unmodified, the shared server of the zoo, and a model that calls functions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import anthropic
import pytest

from tests.builders.scripted import build_scripted
from tests.serving import KEY, REQUEST_S, Server

CALL = ["<tool_call>", '{"name": "get_weather", ', '"arguments": ', '{"city": "Paris"', "}}", "</tool_call>"]
LAST = ["\n<tool_call>", '{"name": "get_time", "arguments": {}}', "</tool_call>\n"]
AGENT, CALLER = "scripted/agent", "scripted/caller"


@pytest.fixture
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def agent(server: Server) -> Iterator[str]:
    """A model that says something and calls two functions, and answers when it has been told what they say."""
    yield from scripted(server, AGENT, ["Let me look.", *CALL, *LAST])


@pytest.fixture(scope="module")
def caller(server: Server) -> Iterator[str]:
    """A model that says nothing and calls one function."""
    yield from scripted(server, CALLER, CALL)


def scripted(server: Server, model: str, pieces: list[str]) -> Iterator[str]:
    folder = server.models_dir / model
    build_scripted(folder, pieces, mark="<tool_call>", then=["It is ", "warm."])
    yield model
    server.client.delete(f"/models/v2/{model}")
    shutil.rmtree(folder)
