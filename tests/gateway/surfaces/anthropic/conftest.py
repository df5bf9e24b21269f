"""Anthropic's own client, unmodified, the shared server of the zoo, and a model that calls functions."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server
from tests.serving.scripted import scripted_model

anthropic = Later("anthropic")

CALL = ["<tool_call>", '{"name": "get_weather", ', '"arguments": ', '{"city": "Paris"', "}}", "</tool_call>"]
LAST = ["\n<tool_call>", '{"name": "get_time", "arguments": {}}', "</tool_call>\n"]
ANSWER = ["It is ", "warm."]
AGENT, CALLER = "scripted/agent", "scripted/caller"


@pytest.fixture
def client(server: Server) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def agent(server: Server) -> Iterator[str]:
    """A model that says something and calls two functions, and answers when it has been told what they say."""
    pieces = ["Let me look.", *CALL, *LAST]
    with scripted_model(server, AGENT, pieces, mark="<tool_call>", then=ANSWER) as model_id:
        yield model_id


@pytest.fixture(scope="module")
def caller(server: Server) -> Iterator[str]:
    """A model that says nothing and calls one function."""
    with scripted_model(server, CALLER, CALL, mark="<tool_call>", then=ANSWER) as model_id:
        yield model_id
