"""What one account can make the server download: nothing that can never run, and nothing that nobody waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from tests.attacks.test_strangers import add_account
from tests.catalog.models import model, weights
from tests.hub.server import HubServer, Repo
from tests.hub.serving import serving_hub
from tests.serving import Server, wait_until

NOT_REPEATED = "It needs a hub that holds its files back."

WEIGHTS = "model.safetensors"
LARGE = {"safetensors": {"parameters": {"F32": 25_000_000_000}}}
"""What the hub says of a model of 100 GB."""
SIZE_BYTES = 24_000_000
"""Of a file that takes a while: more than the sockets on its way hold."""
DOWNLOAD_S = 120
"""How long a slow hub takes to send it: time enough to leave before it has come."""


def repository(size_bytes: int = 4000, **api: object) -> Repo:
    return Repo(model() | {WEIGHTS: weights(size_bytes // 4)}, {"pipeline_tag": "text-generation", **api})


@pytest.fixture(scope="module")
def server(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_hub(tmp_path_factory.mktemp("downloads"), hub, boots=False) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(hub: HubServer) -> Iterator[None]:
    yield
    hub.reset()


def set_limit(server: Server, account: str, *flags: str) -> None:
    server.command("accounts", "set", account, *flags)


def was_fetched(hub: HubServer, model_id: str) -> bool:
    """Whether the weights were asked for whole: a look at their header names a range."""
    return None in hub.ranges(f"{model_id}/.*{WEIGHTS}")


def cached(server: Server, model_id: str) -> Path:
    """Where the hub's files of a model are kept."""
    return server.data_dir.parent / f"hf/hub/models--{model_id.replace('/', '--')}"


def test_what_is_larger_than_the_machine_is_refused_before_anything_is_fetched(server: Server, hub: HubServer) -> None:
    hub.repos["acme/large"] = repository(**LARGE)
    answer = server.post("acme/large", text="hello")
    assert answer.status_code == 503, answer.text
    assert "acme/large needs " in answer.json()["error"]
    assert "may use" in answer.json()["error"]
    assert server.cluster("acme/large")["status"] == "failed"
    assert not was_fetched(hub, "acme/large")
    server.delete("acme/large")


def test_a_job_for_it_fails_before_anything_is_fetched(server: Server, hub: HubServer) -> None:
    hub.repos["acme/asked"] = repository(**LARGE)
    ask = {"model": "acme/asked"}
    assert server.client.post("/model/job", json=ask).status_code == 200
    failed = wait_until(
        lambda: (job := server.client.post("/model/job", json=ask).json()) and job.get("success") is False and job
    )
    assert "acme/asked needs " in failed["message"] + failed.get("error", "")
    assert not was_fetched(hub, "acme/asked")


def test_what_is_larger_than_an_account_may_hold_is_not_fetched_for_it(server: Server, hub: HubServer) -> None:
    hub.repos["acme/medium"] = repository(safetensors={"parameters": {"F32": 100_000_000}})
    with add_account(server, "eve") as eve:
        set_limit(server, "eve", "--max-memory-gb", "0.2", "--max-models", "0")
        wait_until(lambda: may_create(eve, "acme/medium") is False)  # by now the server knows of both limits
        set_limit(server, "eve", "--max-models", "none")
        wait_until(lambda: may_create(eve, "acme/medium"))
        answer = eve.post("/models/v2/acme/medium", json={"text": "hello"})
    assert answer.status_code == 503, answer.text
    assert "acme/medium needs " in answer.json()["error"]
    assert "but your account may hold" in answer.json()["error"]
    assert not was_fetched(hub, "acme/medium")


def may_create(client: httpx.Client, model_id: str) -> bool:
    """Whether one more cluster is allowed; leaves none, and none that could run."""
    path = f"/models/v2/{model_id}"
    status = client.put(path, json={"capacity": {"desired": 0, "max": 0}}).status_code
    return status == 202 and client.delete(path).status_code == 200


def delete(server: Server, model_id: str) -> None:
    assert server.delete(model_id).status_code == 200


def switch_off(server: Server, model_id: str) -> None:
    assert server.client.patch(f"/models/v2/{model_id}", json={"status": "off"}).status_code == 200


@pytest.mark.parametrize("leave", [delete, switch_off])
def test_a_download_ends_when_nobody_waits_for_it(
    server: Server, hub: HubServer, leave: Callable[[Server, str], None]
) -> None:
    model_id = f"acme/{leave.__name__.replace('_', '-')}"
    hub.repos[model_id] = repository(SIZE_BYTES)
    hub.faults.bytes_per_s[WEIGHTS] = SIZE_BYTES // DOWNLOAD_S
    assert server.put(model_id).status_code == 202
    wait_until(lambda: was_fetched(hub, model_id))  # what is small has come by now
    partial = wait_until(lambda: next(cached(server, model_id).glob("blobs/*.incomplete"), None))
    wait_until(lambda: partial.stat().st_size > 100_000)
    leave(server, model_id)
    wait_until(lambda: WEIGHTS in hub.left)
    assert 100_000 < partial.stat().st_size < SIZE_BYTES
    assert not list(cached(server, model_id).glob(f"snapshots/*/{WEIGHTS}"))
    if leave is switch_off:
        server.delete(model_id)


def test_a_server_that_ends_leaves_what_has_come_and_the_next_goes_on_from_there(
    hub: HubServer, tmp_path: Path
) -> None:
    (tmp_path / "models").mkdir()
    environ = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_TOKEN": "", "HF_HUB_OFFLINE": "0"}
    hub.repos["acme/half"] = repository(SIZE_BYTES)
    folder = tmp_path / "hf/hub/models--acme--half"
    reached, release = hub.hold(WEIGHTS, at=8_000_000)
    server = Server(tmp_path, tmp_path / "models", hub=True, boots=False, **environ)
    with closing(server.client):
        server.start(warm=False)
        assert server.put("acme/half").status_code == 202
        assert reached.wait(120)
        wait_until(lambda: any(path.stat().st_size > 1_000_000 for path in folder.glob("blobs/*.incomplete")))
        server.stop()  # the hub is silent all the while
        release.set()
        server.start(warm=False)
        wait_until(lambda: list(folder.glob(f"snapshots/*/{WEIGHTS}")))
        server.stop()
    assert any(each and not each.startswith("bytes=0-") for each in hub.ranges(WEIGHTS))
    assert "Timeout (" not in server.log.read_text(), "its threads had to be given up"
