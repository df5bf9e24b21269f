"""The index: rows follow the shipped list, the folders and the hub, without being told."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.hub import Hub
from modelyard.catalog.hub_settings import HubSettings
from modelyard.catalog.index import CHECKED_PER_LOOK, Index
from modelyard.jobs.measurements import Measurements
from modelyard.records.models import UNSAFE, Listing
from modelyard.store.store import Store
from tests.catalog.models import model, write
from tests.clock import HandClock
from tests.hub.server import HubServer, Repo

GPT2 = "openai-community/gpt2"

Run = Callable[..., object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


class Running:
    """An index at work, with its catalog and store; its clock stands still, so every refresh looks."""

    def __init__(self, catalog: Catalog, store: Store, index: Index) -> None:
        self.catalog, self.store, self.index = catalog, store, index

    async def rows(self) -> dict[str, Listing]:
        """The rows after a look, the shipped list's left out."""
        await self.index.refresh()
        return {each.model_id: each for each in self.store.models.page(limit=1000) if each.source != "published"}

    async def ids(self) -> list[str]:
        return list(await self.rows())


@pytest.fixture
def run(tmp_path: Path, database: Path, root: Path) -> Callable[..., object]:
    """Runs an index on one database; one after the other they are restarts of a server."""
    shutil.copy(database, tmp_path / "index.db")

    @asynccontextmanager
    async def running(hub: Hub | None = None, allow_unsafe: frozenset[str] = frozenset()) -> AsyncIterator[Running]:
        with Store.open(f"sqlite:///{tmp_path}/index.db") as store:
            learned = Measurements(store.models.measured()).of
            catalog = Catalog(Folders([root]), hub, learned=learned, allow_unsafe=allow_unsafe)
            index = Index(catalog, store, HandClock())
            index.start()
            try:
                yield Running(catalog, store, index)
            finally:
                await index.close()
                await catalog.aclose()

    return partial(running)


async def test_the_shipped_list_is_there_from_the_start(run) -> None:
    async with run() as running:
        await running.index.refresh()
        rows = running.store.models.page(limit=1000)

    assert len(rows) == 46
    assert {row.memory_source for row in rows} == {"published"}


async def test_folders_come_change_and_go(run, root: Path) -> None:
    path = write(root / "acme" / "a", model(parameters=10))
    async with run() as running:
        (row,) = (await running.rows()).values()
        assert (row.model_id, row.source, row.task) == ("acme/a", "folder", "text-generation")
        assert (row.parameters, row.memory_source, row.facts["weight_bytes"]) == (10, "estimated", 40)

        write(root / "acme" / "b", model())
        assert await running.ids() == ["acme/a", "acme/b"]

        write(path, model(parameters=20))
        assert (await running.rows())["acme/a"].parameters == 20

        shutil.rmtree(path)
        assert await running.ids() == ["acme/b"]


async def test_a_folder_that_fills_up_becomes_a_model(run, root: Path) -> None:
    (root / "acme" / "slow").mkdir(parents=True)
    async with run() as running:
        assert await running.ids() == []

        write(root / "acme" / "slow", {"config.json": model()["config.json"]})
        assert "no weights" in ((await running.rows())["acme/slow"].refusal or "")

        write(root / "acme" / "slow", model())
        assert (await running.rows())["acme/slow"].refusal is None


async def test_what_happened_while_the_server_was_away_is_seen(run, root: Path) -> None:
    for name in ("changes", "goes", "stays"):
        write(root / "acme" / name, model(parameters=10))
    async with run() as running:
        assert len(await running.ids()) == 3

    write(root / "acme" / "changes", model(parameters=20))
    shutil.rmtree(root / "acme" / "goes")
    write(root / "acme" / "comes", model(parameters=30))

    async with run() as running:
        rows = await running.rows()
    assert {name: row.parameters for name, row in rows.items()} == {
        "acme/changes": 20,
        "acme/comes": 30,
        "acme/stays": 10,
    }


async def test_a_consent_given_since_is_seen(run, root: Path) -> None:
    files = {name: content for name, content in model().items() if name != "model.safetensors"}
    write(root / "acme" / "old", {**files, "pytorch_model.bin": b"\x80"})
    async with run() as running:
        refused = (await running.rows())["acme/old"]
        assert "pickle" in (refused.refusal or "")
        assert refused.facts["refusal_cause"] == UNSAFE

    async with run(allow_unsafe=frozenset({"acme/old"})) as running:
        assert (await running.rows())["acme/old"].refusal is None


async def test_files_replace_a_published_model_and_bring_it_back_when_they_go(run, root: Path) -> None:
    path = write(root / GPT2, model())
    async with run() as running:
        row = (await running.rows())[GPT2]
        assert (row.source, row.memory_source) == ("folder", "estimated")

        shutil.rmtree(path)
        assert await running.ids() == []
        published = running.store.models.find(GPT2)
    assert published is not None
    assert published.memory_source == "published"


async def test_a_measurement_outlives_a_look_and_ends_with_its_weights(run, root: Path) -> None:
    path = write(root / "acme" / "a", model(parameters=10))
    async with run() as running:
        await running.index.refresh()
        running.store.models.measure("acme/a", memory_bytes=777, measured_at=HandClock().now(), load_ms=5)

    write(path, {"README.md": b"---\nlicense: mit\n---\n"})
    async with run() as running:
        row = (await running.rows())["acme/a"]
        assert (row.license, row.memory_bytes, row.memory_source, row.facts["load_ms"]) == ("mit", 777, "measured", 5)
        card = await running.catalog.get("acme/a")
        assert (card.memory_bytes, card.measured) == (777, True)

        write(path, model(parameters=20))
        row = (await running.rows())["acme/a"]
        assert (row.memory_source, "load_ms" in row.facts) == ("estimated", False)
        assert not (await running.catalog.get("acme/a")).measured


async def test_among_many_folders_the_shown_ones_are_looked_at_first(run, root: Path) -> None:
    names = [f"m{number:03}" for number in range(4 * CHECKED_PER_LOOK)]
    for name in names:
        write(root / "acme" / name, model(parameters=10))
    async with run() as running:
        while len(await running.ids()) < len(names):
            await asyncio.sleep(0)
        last = (await running.rows())[f"acme/{names[-1]}"]
        write(root / last.model_id, model(parameters=20))

        running.index.shown([last])

        assert (await running.rows())[last.model_id].parameters == 20


async def test_hub_models_are_listed_once_looked_up_and_give_way_to_folders(run, root: Path, tmp_path: Path) -> None:
    with HubServer().running() as server:
        server.repos["acme/remote"] = Repo(model(parameters=10))
        hub = Hub(HubSettings(server.url, tmp_path / "cache", None, offline=False))
        async with run(hub) as running:
            assert await running.ids() == []

            await running.catalog.get("acme/remote")
            row = (await running.rows())["acme/remote"]
            assert (row.source, row.parameters, row.revision is None) == ("hub", 10, False)

            path = write(root / "acme" / "remote", model(parameters=20))
            row = (await running.rows())["acme/remote"]
            assert (row.source, row.parameters) == ("folder", 20)

            shutil.rmtree(path)
            assert (await running.rows())["acme/remote"].source == "hub"


async def test_a_store_that_is_away_leaves_lists_to_fail_and_the_index_alive(run, root: Path, caplog) -> None:
    async with run() as running:
        await running.index.refresh()
        running.store.close()
        write(root / "acme" / "a", model())

        await running.index.refresh()

        assert "could not be brought up to date" in caplog.text
