"""A private or gated model that was fetched with the operator's token: for everybody else there is no such model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.attacks.test_strangers import add_account
from tests.e2e.test_hub import published
from tests.hub.server import HubServer
from tests.serving import Server, wait_until

NOT_REPEATED = "It needs a hub with models of its own."
PRIVATE, GATED, PUBLIC = "acme/private", "acme/gated", "acme/public"
NOTHING = "acme/nothing"
"""No such model: the answers about it are the measure of all others."""


@pytest.fixture(scope="module")
def hub(zoo: Path) -> Iterator[HubServer]:
    with HubServer().running() as hub:
        for model_id in (PRIVATE, GATED, PUBLIC):
            hub.repos[model_id] = published(zoo / "tiny/classifier")
        hub.repos[PRIVATE].private = hub.repos[GATED].gated = True
        yield hub


@pytest.fixture(scope="module")
def server(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("private")
    (folder / "models").mkdir()
    environ = {"HF_ENDPOINT": hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": "hf_good", "HF_HUB_OFFLINE": "0"}
    server = Server(folder, folder / "models", hub=True, MODELYARD_LOOKUPS_PER_MINUTE="1000", **environ)
    with closing(server.client):
        server.start()
        for model_id in (PRIVATE, GATED, PUBLIC):
            server.run(model_id, text="hello")
        yield server
        server.stop()


@pytest.fixture(scope="module")
def eve(server: Server) -> Iterator[httpx.Client]:
    with add_account(server, "eve") as client:
        yield client


def models(server: Server, *arguments: str) -> None:
    """`modelyard models ...`."""
    server.command("models", *arguments)


def ask(client: httpx.Client, model_id: str) -> dict[str, tuple[int, Any]]:
    """Every call that names a model: its status, and its answer with the name taken out."""
    path = f"/models/v2/{model_id}"
    answers = {
        "run": client.post(path, json={"text": "hello"}),
        "run badly": client.post(path, json={"nonsense": 1}),
        "put": client.put(path),
        "get": client.get(path),
        "patch": client.patch(path, json={"timeout": 5}),
        "delete": client.delete(path),
        "events": client.get(f"/models/v2/events/{model_id}"),
        "list one": client.get("/models/v2/list/models", params={"modelId": model_id}),
        "search": client.get("/models/v2/list/models", params={"search": model_id}),
        "job": client.post(f"/models/v2/request/{model_id}"),
        "job state": client.get(f"/models/v2/request/{model_id}"),
        "variant": client.post(f"/models/v2/request/{model_id}.onnx"),
        "v1 job": client.post("/model/job", json={"model": model_id}),
        "v1 load": client.post("/model/load", json={"model": model_id}),
        "v1 run": client.post("/model/run", json={"model": model_id, "text": "hello"}),
        "v1 status": client.post("/model/status", json={"model": model_id}),
    }
    return {call: (each.status_code, without_names(each.text, model_id)) for call, each in answers.items()}


def without_names(text: str, model_id: str) -> str:
    """An answer without the name that was asked for, and without guesses, which depend on it."""
    return re.sub(r" Did you mean [^?]*[?]", "", text.replace(model_id, "MODEL"))


@pytest.mark.parametrize("model_id", [PRIVATE, GATED, "Acme/Private", "ACME/GATED"])
def test_to_another_account_it_is_like_a_model_that_does_not_exist(
    server: Server, eve: httpx.Client, model_id: str
) -> None:
    assert ask(eve, model_id) == ask(eve, NOTHING)
    assert ask(eve, model_id) == ask(eve, NOTHING), "asked again, too"


def test_no_list_and_no_guess_names_it(eve: httpx.Client) -> None:
    seen = [
        eve.get("/models/v2/list/models").text,
        eve.get("/model/list").text,
        eve.post("/models/v2/acme/privat", json={"text": "hello"}).text,
        eve.post("/models/v2/acme/gate", json={"text": "hello"}).text,
    ]
    assert not [each for each in seen if PRIVATE in each or GATED in each]
    assert PUBLIC in seen[0]


def test_the_operator_and_public_models_are_as_ever(server: Server, eve: httpx.Client) -> None:
    listed = {each["modelId"] for each in server.client.get("/models/v2/list/models?search=acme").json()["output"]}
    assert listed == {PRIVATE, GATED, PUBLIC}
    assert server.run(PRIVATE, text="hello")
    assert eve.post(f"/models/v2/{PUBLIC}", json={"text": "hello"}).status_code == 200


def test_the_operator_shares_it_with_whom_it_will(server: Server, eve: httpx.Client) -> None:
    path = f"/models/v2/{PRIVATE}"

    def status() -> int:
        return eve.post(path, json={"text": "hello"}).status_code

    models(server, "share", PRIVATE, "--account", "eve")
    wait_until(lambda: status() == 200)
    assert PRIVATE in eve.get("/models/v2/list/models").text
    assert eve.post(f"/models/v2/{GATED}", json={"text": "hello"}).status_code == 404
    models(server, "unshare", PRIVATE, "--account", "eve")
    wait_until(lambda: status() == 404)
    assert PRIVATE not in eve.get("/models/v2/list/models").text
    assert eve.delete(path).status_code == 200, "what it had, it can delete"


def test_it_stays_so_when_the_token_is_gone_and_when_the_hub_is(server: Server, hub: HubServer) -> None:
    with add_account(server, "bob") as bob:
        hub.tokens = set()
        server.stop()
        server.start(warm=False, boots=False)
        assert ask(bob, PRIVATE) == ask(bob, NOTHING)
        hub.faults.status = 503
        server.stop()
        server.start(warm=False, boots=False)
        for model_id in (PRIVATE, GATED):
            assert ask(bob, model_id) == ask(bob, NOTHING)
        assert bob.get(f"/models/v2/list/models?modelId={PUBLIC}").json()["output"], "public models are for everybody"
