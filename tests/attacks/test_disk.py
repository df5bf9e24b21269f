"""What one account can fill the disk with: what its limit says, and nothing that others need or other tools keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from modelyard.catalog.hub_cache import HubCache
from tests.attacks.test_downloads import WEIGHTS, may_create, repository, set_limit, was_fetched
from tests.attacks.test_strangers import add_account
from tests.catalog.models import write_cached
from tests.hub.server import HubServer
from tests.hub.serving import serving_hub
from tests.serving import Server, wait_until

NOT_REPEATED = "It needs a hub, and a server whose cache is small."

SIZE_BYTES = 24_000_000
CACHE_GB = 0.06
"""Room for two models, and not for three."""
ACCOUNT_GB = 0.03
"""Room for one."""


@pytest.fixture(scope="module")
def server(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving_hub(tmp_path_factory.mktemp("disk"), hub, "--cache-gb", str(CACHE_GB), boots=False) as server:
        yield server


@pytest.fixture(autouse=True)
def fresh(server: Server, hub: HubServer) -> Iterator[None]:
    """Each test begins with an empty cache and no cluster of the operator's."""
    yield
    for model_id in hub.repos:
        server.delete(model_id)
    for model_id in list(cache_of(server).model_ids()):
        cache_of(server).remove(model_id)
    hub.reset()


def cache_of(server: Server) -> HubCache:
    return HubCache(server.data_dir.parent / "hf/hub")


def is_here(server: Server, model_id: str) -> bool:
    """Whether all of a model is here."""
    return any(cache_of(server).folder(model_id).glob(f"snapshots/*/{WEIGHTS}"))


def publish(hub: HubServer, *model_ids: str) -> None:
    for number, model_id in enumerate(model_ids):
        hub.repos[model_id] = repository(SIZE_BYTES + 4000 * number)


def download(server: Server, client: httpx.Client, model_id: str) -> None:
    """Has a model downloaded that stays in use: its cluster is there, whatever becomes of its boot."""
    assert client.put(f"/models/v2/{model_id}").status_code == 202
    wait_until(lambda: is_here(server, model_id))


@contextmanager
def limited_account(server: Server, name: str) -> Iterator[httpx.Client]:
    """An account whose limit the server knows."""
    with add_account(server, name) as client:
        set_limit(server, name, "--max-disk-gb", str(ACCOUNT_GB), "--max-models", "0")
        wait_until(lambda: may_create(client, "acme/one") is False)  # by now the server knows of both limits
        set_limit(server, name, "--max-models", "none")
        wait_until(lambda: may_create(client, "acme/one"))
        yield client


def test_an_account_has_no_more_downloaded_than_its_limit_and_its_own_unused_files_make_room(
    server: Server, hub: HubServer
) -> None:
    publish(hub, "acme/one", "acme/two", "acme/theirs")
    download(server, server.client, "acme/theirs")
    with limited_account(server, "eve") as eve:
        download(server, eve, "acme/one")
        refused = eve.post("/models/v2/acme/two", json={"text": "hello"})
        assert refused.status_code == 403, refused.text
        words = refused.json()["error"]
        assert "acme/two needs 23 MB of disk" in words
        assert "downloaded for your account may take 31 MB in all, and 23 MB of that must stay" in words
        assert "--max-disk-gb" in words
        assert "theirs" not in words
        assert str(server.data_dir.parent) not in words
        assert not was_fetched(hub, "acme/two")
        eve.delete("/models/v2/acme/two")
        asked = {"model": "acme/two"}
        failed = wait_until(
            lambda: (job := eve.post("/model/job", json=asked).json()) and job.get("success") is False and job
        )
        assert "may take 31 MB in all" in failed["message"] + failed.get("error", "")
        assert not was_fetched(hub, "acme/two")
        assert eve.delete("/models/v2/acme/one").status_code == 200
        download(server, eve, "acme/two")
        assert not is_here(server, "acme/one")
        assert is_here(server, "acme/theirs")
        eve.delete("/models/v2/acme/two")


def test_the_longest_unused_goes_when_the_cache_is_full_and_what_is_in_use_stays(
    server: Server, hub: HubServer
) -> None:
    publish(hub, "acme/one", "acme/two", "acme/three", "acme/four")
    for model_id in ("acme/one", "acme/two"):  # the first is tried to boot, again and again, until it is deleted
        download(server, server.client, model_id)
        assert server.delete(model_id).status_code == 200
    download(server, server.client, "acme/three")
    assert not is_here(server, "acme/one")
    assert is_here(server, "acme/two")
    assert "acme/one, 23 MB that nobody has used since" in server.log.read_text()
    download(server, server.client, "acme/one")
    assert not is_here(server, "acme/two"), "the model of a cluster stays, however long it was not used"
    refused = server.post("acme/four", text="hello")
    assert refused.status_code == 503, refused.text
    assert "no room on this server's disk for acme/four, which needs 23 MB" in refused.json()["error"]
    assert "61 MB" not in refused.json()["error"], "figures of the whole server are its operator's"
    assert "may take 61 MB in all, and 46 MB of that must stay" in server.log.read_text()
    assert not was_fetched(hub, "acme/four")
    assert is_here(server, "acme/one")
    assert is_here(server, "acme/three")


def test_what_another_tool_has_put_there_stays(server: Server, hub: HubServer) -> None:
    publish(hub, "acme/one", "acme/two", "acme/three")
    write_cached(cache_of(server).root, "acme/theirs", SIZE_BYTES, WEIGHTS)
    download(server, server.client, "acme/one")
    assert server.delete("acme/one").status_code == 200
    download(server, server.client, "acme/two")
    assert not is_here(server, "acme/one")
    refused = server.post("acme/three", text="hello")
    assert refused.status_code == 503, refused.text
    assert not was_fetched(hub, "acme/three")
    assert is_here(server, "acme/theirs")


def test_what_was_downloaded_for_an_account_counts_after_a_restart(hub: HubServer, tmp_path: Path) -> None:
    publish(hub, "acme/one", "acme/two")
    with serving_hub(tmp_path, hub, boots=False) as server, limited_account(server, "eve") as eve:
        download(server, eve, "acme/one")
        server.kill()
        server.start(warm=False)
        assert eve.post("/models/v2/acme/two", json={"text": "hello"}).status_code == 403
        assert not was_fetched(hub, "acme/two")
