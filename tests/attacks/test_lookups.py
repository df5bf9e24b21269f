"""What one account can make the server ask the hub, which it asks with the operator's token."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.attacks.registry import attack
from tests.attacks.test_strangers import add_account
from tests.hub.server import HubServer
from tests.hub.serving import serving_hub
from tests.serving import Server

UNKNOWN = 100
PER_MINUTE = 30
"""The setting's default."""


@pytest.fixture(scope="module")
def server(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_hub(tmp_path_factory.mktemp("lookups"), hub, boots=False) as server:
        yield server


def ask(client: httpx.Client, number: int) -> httpx.Response:
    """One of the calls that name a model, each in its turn, with a name that nobody has heard of."""
    model_id = f"nobody/m{number}"
    match number % 5:
        case 0:
            return client.post(f"/models/v2/{model_id}", json={"text": "a"})
        case 1:
            return client.put(f"/models/v2/{model_id}")
        case 2:
            return client.post(f"/models/v2/request/{model_id}")
        case 3:
            return client.post("/model/load", json={"model": model_id})
        case _:
            return client.get("/models/v2/list/models", params={"modelId": model_id})


def ask_for_unknown(client: httpx.Client) -> list[httpx.Response]:
    return [ask(client, number) for number in range(UNKNOWN)]


@attack
def ask_for_unknown_models(server: Server) -> None:
    ask_for_unknown(server.client)


def test_unknown_names_are_looked_up_a_few_and_the_account_is_told_when_to_come_back(
    server: Server, hub: HubServer
) -> None:
    with add_account(server, "eve") as eve, add_account(server, "ada") as ada:
        begun = time.monotonic()
        answers = ask_for_unknown(eve)
        may_ask = PER_MINUTE * (1 + (time.monotonic() - begun) / 60)  # half a hundred, unless the machine is very busy
        asked = hub.count("/api/models/nobody")
        assert ada.post("/models/v2/nobody/of-ada", json={"text": "a"}).status_code == 404
        assert hub.count("/api/models/nobody/of-ada") == 1
    assert asked <= may_ask, asked
    statuses = Counter(answer.status_code for answer in answers)
    assert UNKNOWN - statuses[429] <= may_ask, statuses
    assert set(statuses) == {200, 404, 429}  # a list is empty, a model is not there, or later
    refusals = [answer for answer in answers if answer.status_code == 429]
    assert all(int(refusal.headers["retry-after"]) > 0 for refusal in refusals)
    assert all(f"limited to {PER_MINUTE} per minute" in refusal.json()["error"] for refusal in refusals)


def test_the_same_name_is_asked_about_once(server: Server, hub: HubServer) -> None:
    with add_account(server, "bob") as bob:
        answers = [bob.post("/models/v2/nobody/again", json={"text": "a"}).status_code for _ in range(2 * PER_MINUTE)]
    assert answers == [404] * len(answers)
    assert hub.count("/api/models/nobody/again") < 5  # what is not there is remembered for half a minute
