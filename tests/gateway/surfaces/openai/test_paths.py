"""OpenAI's calls are the same at both of their paths: other tests ask at the shorter one."""

from __future__ import annotations

from typing import Any

import pytest

from modelyard.gateway.surfaces.openai.inference import ROOTS
from tests.gateway.conftest import Gateway
from tests.later import Later
from tests.serving import Server

openai = Later("openai")

ASKED: dict[str, Any] = {"model": "tiny/chat", "input": "hello", "max_output_tokens": 4, "temperature": 0}


async def test_each_inference_is_one_at_both_paths(gateway: Gateway) -> None:
    shorter, longer = (
        {path.removeprefix(root): surface for path, surface in gateway.surfaces.at.items() if path.startswith(root)}
        for root in ROOTS
    )
    assert len(longer) == 10
    assert {path: shorter[path] for path in longer} == longer


def test_what_is_made_at_one_path_is_found_at_the_other(
    server: Server, client: openai.OpenAI, other_client: openai.OpenAI
) -> None:
    made = other_client.responses.create(**ASKED)
    assert made.output_text == client.responses.create(**ASKED).output_text
    assert client.responses.retrieve(made.id).to_dict() == other_client.responses.retrieve(made.id).to_dict()
    assert other_client.responses.input_items.list(made.id).data
    assert [each.id for each in other_client.models.list()] == [each.id for each in client.models.list()]
    assert other_client.models.retrieve("tiny/chat").id == "tiny/chat"
    other_client.responses.delete(made.id)


def test_the_longer_path_answers_chats_in_events_and_says_what_is_wrong(
    client: openai.OpenAI, other_client: openai.OpenAI
) -> None:
    asked: dict[str, Any] = {"model": "tiny/chat", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}
    whole, events = (
        [chunk.choices[0].delta.content for chunk in each.chat.completions.create(**asked, temperature=0, stream=True)]
        for each in (client, other_client)
    )
    assert whole == events
    with pytest.raises(openai.BadRequestError) as raised:
        other_client.chat.completions.create(**asked, temperature=3)
    assert raised.value.param == "temperature"
