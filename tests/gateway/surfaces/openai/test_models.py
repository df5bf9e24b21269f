"""`/v1/models`, by OpenAI's own client and by Anthropic's."""

from __future__ import annotations

import time

import pytest

from tests.later import Later
from tests.plugin import ZOO
from tests.serving import KEY, REQUEST_S, Server, wait_until

anthropic = Later("anthropic")
openai = Later("openai")


def test_every_model_that_can_be_asked_is_listed(server: Server, client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}

    assert models.keys() >= {*ZOO}
    model = models["tiny/chat"]
    assert (model.object, model.owned_by) == ("model", "tiny")
    assert time.time() - 86_400 < model.created <= time.time()


def test_the_context_is_the_one_that_is_served(server: Server, client: openai.OpenAI) -> None:
    """A conversation that is one token too long tells it."""
    model = client.models.retrieve("tiny/chat").model_dump()
    told = server.post("tiny/chat", text="hello " * 500).json()["error"]

    assert model["context_length"] == model["max_model_len"]
    assert f"fewer than {model['context_length']}," in told


def test_a_model_that_is_not_there_is_a_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.models.retrieve("tiny/nothing")
    assert raised.value.code == "model_not_found"


def test_the_list_goes_on_after_its_last(server: Server) -> None:
    first = server.client.get("/v1/models", params={"limit": 2}).json()
    rest = server.client.get("/v1/models", params={"after": first["last_id"]}).json()

    assert (len(first["data"]), first["has_more"], rest["has_more"]) == (2, True, False)
    whole = server.client.get("/v1/models").json()["data"]
    assert [each["id"] for each in whole] == [each["id"] for each in (*first["data"], *rest["data"])]


def test_anthropics_client_lists_the_same(server: Server) -> None:
    with anthropic.Anthropic(base_url=server.url, api_key=KEY) as client:
        listed = [model.id for model in client.models.list(limit=3)]
        one = client.models.retrieve("tiny/chat")
    assert {*listed} >= {*ZOO}
    assert (one.id, one.type, one.display_name) == ("tiny/chat", "model", "tiny/chat")


@pytest.mark.parametrize("name", ["gpt-4o-mini", "acme/assistant"])
def test_a_name_that_the_operator_has_given_a_model_is_listed_and_asked(server: Server, name: str) -> None:
    server.command("aliases", "set", name, "tiny/chat", "--task", "chat")
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, timeout=REQUEST_S, max_retries=0) as client:
        wait_until(lambda: name in [model.id for model in client.models.list()])
        model = client.models.retrieve(name).model_dump()
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "hello"}], max_tokens=4
        )
    assert (model["id"], model["alias_of"], model["owned_by"]) == (name, "tiny/chat", "tiny")
    assert answer.model == name
    server.command("aliases", "rm", name)
