"""OpenAI's own client, unmodified, and the shared server of the zoo."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server

openai = Later("openai")

ROOT, OTHER_ROOT = "/v1", "/models/v2/openai/v1"
"""The calls are the same at either: test_paths.py, and all of these tests in `make verify`."""


@pytest.fixture(scope="module", params=[ROOT, pytest.param(OTHER_ROOT, marks=pytest.mark.verify(part="clients"))])
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    with client_at(server, request.param) as client:
        yield client


@pytest.fixture
def other_client(server: Server) -> Iterator[openai.OpenAI]:
    """At the longer path."""
    with client_at(server, OTHER_ROOT) as client:
        yield client


def client_at(server: Server, root: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}{root}", api_key=KEY, timeout=REQUEST_S, max_retries=0)


@pytest.fixture
async def async_client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        yield client
