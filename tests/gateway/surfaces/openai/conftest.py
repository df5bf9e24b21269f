"""OpenAI's own client, unmodified, and the shared server of the zoo."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.later import Later
from tests.serving import KEY, REQUEST_S, Server

openai = Later("openai")

ROOTS = ("/v1", "/models/v2/openai/v1")


@pytest.fixture(scope="module", params=ROOTS)
def client(server: Server, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """At either of the paths."""
    with openai.OpenAI(
        base_url=f"{server.url}{request.param}", api_key=KEY, timeout=REQUEST_S, max_retries=0
    ) as client:
        yield client


@pytest.fixture
async def async_client(server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        yield client
