"""Room in the hub's cache: for whom files count, which ones go, and what is never touched."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from modelyard.catalog.cache_space import CacheSpace, SpaceRules
from modelyard.catalog.hub import Hub
from modelyard.catalog.hub_cache import HubCache
from modelyard.catalog.hub_settings import HubSettings
from modelyard.catalog.made_files import list_conversions, write_account
from modelyard.errors import DownloadFailed, QuotaExceeded
from modelyard.records.clusters import Capacity
from modelyard.records.instances import Instance
from modelyard.store.store import Store
from tests.catalog.models import model, weights, write_cached
from tests.clock import HandClock
from tests.hub.server import HubServer, Repo

MIB = 1024**2
CAPACITY = Capacity(0, 1, 1)
NO_RULES = SpaceRules(cache_bytes=None, kept_free_bytes=0)


@pytest.fixture
def store(own_database: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{own_database}") as opened:
        yield opened


async def settled() -> None:
    """What the tests write is in the store at once."""


class Cache:
    """A cache, the accounts ada and bob, and what they may have."""

    def __init__(self, root: Path, store: Store, clock: HandClock) -> None:
        self.root = root
        self.files = HubCache(root)
        self.store = store
        self.clock = clock
        self.ada = store.accounts.ensure("ada", clock.now()).id
        self.bob = store.accounts.ensure("bob", clock.now()).id
        self.quotas: dict[str, int] = {}
        self.converted = root.with_name("converted")

    @asynccontextmanager
    async def space(self, rules: SpaceRules = NO_RULES) -> AsyncIterator[CacheSpace]:
        space = CacheSpace(
            self.root,
            self.store.downloads,
            rules,
            self.quotas.get,
            self.clock,
            settled,
            lambda: list_conversions(self.converted),
        )
        try:
            yield space
        finally:
            await space.aclose()

    async def download(
        self, space: CacheSpace, model_id: str, size_bytes: int, account_id: str | None
    ) -> Sequence[str]:
        """As the hub does it; the models removed for it."""
        async with space.room_for(model_id, size_bytes, account_id) as removed:
            self.fill(model_id, size_bytes)
        self.clock.advance(60)
        return list(removed)

    async def convert(self, space: CacheSpace, model_id: str, size_bytes: int, account_id: str) -> None:
        """As a conversion does it, for the account."""
        async with space.room_for_made(model_id, size_bytes, account_id):
            folder = self.converted / model_id / "digest"
            folder.mkdir(parents=True)
            (folder / "model.safetensors").write_bytes(bytes(size_bytes))
            write_account(folder, account_id)

    def fill(self, model_id: str, size_bytes: int, name: str = "weights") -> None:
        write_cached(self.root, model_id, size_bytes, name)

    def here(self) -> set[str]:
        return set(self.files.model_ids())

    def use(self, model_id: str, account_id: str) -> None:
        self.store.clusters.put(account_id, model_id, CAPACITY, 60, self.clock.now())
        self.clock.advance(1)

    def leave(self, model_id: str, account_id: str) -> None:
        found = self.store.clusters.find(account_id, model_id)
        assert found is not None
        self.store.clusters.delete(found.id)

    def boot(self, model_id: str, account_id: str) -> str:
        now = self.clock.now()
        instance_id = f"in_{self.clock.passed_s}"
        self.store.instances.open(Instance(instance_id, "cl_1", account_id, model_id, "node", 1, now, now))
        return instance_id


@pytest.fixture
def cache(tmp_path: Path, store: Store, clock: HandClock) -> Cache:
    return Cache(tmp_path / "hub", store, clock)


def limited(size_bytes: int, removes: str = "own") -> SpaceRules:
    return SpaceRules(cache_bytes=size_bytes, kept_free_bytes=0, removes=removes)


async def test_without_limits_everything_stays(cache: Cache) -> None:
    async with cache.space() as space:
        for name in ("org/a", "org/b"):
            assert await cache.download(space, name, 100, cache.ada) == []
    assert cache.here() == {"org/a", "org/b"}


async def test_the_longest_unused_goes_and_a_boot_is_a_use(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with cache.space(limited(250)) as space:
        for name in ("org/a", "org/b"):
            await cache.download(space, name, 100, cache.ada)
        instance_id = cache.boot("org/a", cache.ada)
        cache.store.instances.end(instance_id, cache.clock.now(), "idle")
        assert await cache.download(space, "org/c", 100, cache.bob) == ["org/b"]
        assert await cache.download(space, "org/d", 150, cache.bob) == ["org/a"]
    assert cache.here() == {"org/c", "org/d"}
    assert "org/b, 0 MB that nobody has used since 2026-05-01 08:01 UTC, is removed" in caplog.text
    assert "org/c needs 0 MB" in caplog.text


async def test_what_anybody_uses_stays_and_the_refusal_has_the_figures(cache: Cache) -> None:
    async with cache.space(limited(50 * MIB)) as space:
        for name in ("org/cluster", "org/job", "org/base", "org/instance"):
            await cache.download(space, name, 10 * MIB, cache.ada)
        cache.use("org/cluster", cache.bob)
        cache.store.jobs.ask("org/job", cache.bob, cache.clock.now())
        cache.store.jobs.ask("org/base.onnx", cache.bob, cache.clock.now())
        cache.boot("org/instance", cache.bob)
        with pytest.raises(DownloadFailed, match="no room on this server's disk for org/more, which needs 11 MB") as no:
            await cache.download(space, "org/more", 11 * MIB, cache.ada)
        assert "may take 50 MB in all, and 40 MB of that must stay" in str(no.value)
        assert no.value.message.count("MB") == 1, "the rest is the operator's"
        cache.leave("org/cluster", cache.bob)
        assert await cache.download(space, "org/more", 11 * MIB, cache.ada) == ["org/cluster"]


async def test_nothing_is_removed_for_what_is_refused(cache: Cache) -> None:
    async with cache.space(limited(100)) as space:
        await cache.download(space, "org/a", 60, cache.ada)
        with pytest.raises(DownloadFailed):
            await cache.download(space, "org/b", 101, cache.ada)
    assert cache.here() == {"org/a"}


async def test_an_account_makes_room_with_its_own_files_only(cache: Cache) -> None:
    cache.quotas[cache.ada] = 25 * MIB
    async with cache.space() as space:
        await cache.download(space, "org/bobs", 10 * MIB, cache.bob)
        await cache.download(space, "org/used", 10 * MIB, cache.ada)
        cache.use("org/used", cache.ada)
        await cache.download(space, "org/unused", 10 * MIB, cache.ada)
        assert await cache.download(space, "org/next", 15 * MIB, cache.ada) == ["org/unused"]
        cache.use("org/next", cache.ada)
        with pytest.raises(QuotaExceeded) as no:
            await cache.download(space, "org/more", 1 * MIB, cache.ada)
        await cache.download(space, "org/more", 1 * MIB, cache.bob)
    assert no.value.message == (
        "org/more needs 1 MB of disk. What is downloaded for your account may take 25 MB in all, and 25 MB of that "
        "must stay."
    )
    assert no.value.data["limit_bytes"] == no.value.data["held_bytes"] == 25 * MIB
    assert "bobs" not in str(no.value)


async def test_what_is_made_of_models_counts_for_the_account_that_asked(cache: Cache) -> None:
    cache.quotas[cache.ada] = 3 * MIB
    async with cache.space() as space:
        cache.use("org/pickles", cache.ada)
        await cache.convert(space, "org/pickles", 2 * MIB, cache.ada)
        await cache.download(space, "org/small", MIB // 2, cache.ada)
        with pytest.raises(QuotaExceeded, match="downloaded and made for your account may take 3 MB in all"):
            await cache.download(space, "org/large", 2 * MIB, cache.ada)
        with pytest.raises(QuotaExceeded, match="org/other needs 2 MB of disk"):
            await cache.convert(space, "org/other", 2 * MIB, cache.ada)
        await cache.convert(space, "org/other", 2 * MIB, cache.bob)
        await cache.download(space, "org/large", 2 * MIB, cache.bob)
    assert cache.here() == {"org/small", "org/large"}


async def test_what_nobody_uses_goes_for_what_its_account_has_made(cache: Cache) -> None:
    cache.quotas[cache.ada] = 3 * MIB
    async with cache.space() as space:
        await cache.download(space, "org/unused", 2 * MIB, cache.ada)
        await cache.convert(space, "org/pickles", 2 * MIB, cache.ada)
        assert cache.here() == set()
        await cache.download(space, "org/next", 2 * MIB, cache.ada)
    assert not list(cache.converted.glob("*/*/*"))


async def test_two_that_are_made_at_once_share_what_there_is(cache: Cache) -> None:
    cache.quotas[cache.ada] = 3 * MIB
    async with cache.space() as space, space.room_for_made("org/a", 2 * MIB, cache.ada):
        with pytest.raises(QuotaExceeded):
            await cache.convert(space, "org/b", 2 * MIB, cache.ada)
        with pytest.raises(QuotaExceeded):
            await cache.download(space, "org/c", 2 * MIB, cache.ada)


async def test_a_model_counts_for_one_account_that_uses_it(cache: Cache) -> None:
    cache.quotas = {cache.ada: 15, cache.bob: 15}
    async with cache.space() as space:
        await cache.download(space, "org/shared", 10, cache.ada)
        cache.use("org/shared", cache.bob)
        cache.use("org/shared", cache.ada)
        await cache.download(space, "org/bobs", 10, cache.bob)
        with pytest.raises(QuotaExceeded):
            await cache.download(space, "org/adas", 10, cache.ada)
        cache.leave("org/shared", cache.ada)
        assert await cache.download(space, "org/adas", 10, cache.ada) == []
        cache.use("org/bobs", cache.bob)
        with pytest.raises(QuotaExceeded):
            await cache.download(space, "org/more", 1, cache.bob)
        cache.leave("org/shared", cache.bob)
        with pytest.raises(QuotaExceeded, match="org/most"):
            await cache.download(space, "org/most", 16, cache.ada)
        assert await cache.download(space, "org/more", 1, cache.bob) == [], "it counts for ada again, whom it was for"


async def test_for_whom_files_count_outlives_the_server(cache: Cache) -> None:
    cache.quotas[cache.ada] = 15
    async with cache.space() as space:
        await cache.download(space, "org/a", 10, cache.ada)
    cache.use("org/a", cache.ada)
    async with cache.space() as space:
        with pytest.raises(QuotaExceeded):
            await cache.download(space, "org/b", 10, cache.ada)


async def test_a_download_that_broke_off_counts_and_goes_on_for_who_asks_next(cache: Cache) -> None:
    cache.quotas = {cache.ada: 100, cache.bob: 100}
    async with cache.space() as space:
        async with space.room_for("org/a", 90, cache.ada):
            cache.fill("org/a", 40)
        assert await cache.download(space, "org/b", 70, cache.ada) == ["org/a"]
        async with space.room_for("org/a", 90, cache.ada):
            cache.fill("org/a", 40)
            cache.use("org/a", cache.bob)
        async with space.room_for("org/a", 50, cache.bob):
            cache.fill("org/a", 90)
        with pytest.raises(QuotaExceeded):
            await cache.download(space, "org/c", 11, cache.bob)


async def test_downloads_under_way_have_the_room_they_were_promised(cache: Cache) -> None:
    cache.quotas[cache.ada] = 100
    async with cache.space(limited(150)) as space, space.room_for("org/a", 60, cache.ada):
        cache.fill("org/a", 10)
        with pytest.raises(QuotaExceeded):
            await cache.download(space, "org/b", 41, cache.ada)
        with pytest.raises(DownloadFailed):
            await cache.download(space, "org/b", 91, cache.bob)
        assert await cache.download(space, "org/b", 40, cache.ada) == []
        cache.use("org/b", cache.ada)
        cache.fill("org/a", 60)
        with pytest.raises(QuotaExceeded):
            await cache.download(space, "org/c", 1, cache.ada)


async def test_what_is_about_to_come_is_not_removed_for_another(cache: Cache) -> None:
    async with cache.space(limited(100)) as space:
        await cache.download(space, "org/a", 60, cache.ada)
        async with space.room_for("org/a", 30, cache.ada):  # another commit
            with pytest.raises(DownloadFailed):
                await cache.download(space, "org/b", 20, cache.bob)


async def test_files_of_other_tools_stay_unless_the_operator_says_so(cache: Cache) -> None:
    cache.fill("org/theirs", 60)
    cache.fill("org/both", 10, "readme")
    async with cache.space(limited(200)) as space:
        await cache.download(space, "org/both", 60, cache.ada)
        await cache.download(space, "org/later", 60, cache.ada)
        cache.fill("org/later", 1, "readme")
        with pytest.raises(DownloadFailed):
            await cache.download(space, "org/more", 60, cache.ada)
    async with cache.space(limited(200, "nothing")) as space:
        with pytest.raises(DownloadFailed):
            await cache.download(space, "org/more", 60, cache.ada)
    assert cache.here() == {"org/theirs", "org/both", "org/later"}
    async with cache.space(limited(200, "any")) as space:
        assert await cache.download(space, "org/more", 60, cache.ada) == ["org/both"]


async def test_what_other_tools_have_put_there_counts_for_nobody(cache: Cache) -> None:
    cache.quotas[cache.ada] = 100
    cache.fill("org/a", 70, "readme")
    async with cache.space() as space:
        await cache.download(space, "org/a", 60, cache.ada)
        cache.use("org/a", cache.ada)
        assert await cache.download(space, "org/b", 40, cache.ada) == []


async def test_files_that_another_tool_fetched_anew_are_no_longer_ours(cache: Cache) -> None:
    cache.quotas[cache.ada] = 100
    async with cache.space(limited(100)) as space:
        await cache.download(space, "org/a", 60, cache.ada)
        cache.files.remove("org/a")
        cache.fill("org/a", 60)
        with pytest.raises(DownloadFailed):
            await cache.download(space, "org/b", 60, cache.ada)
        assert await cache.download(space, "org/c", 40, cache.ada) == []


async def test_what_another_process_downloads_at_this_moment_stays(cache: Cache) -> None:
    async with cache.space(limited(100)) as space:
        await cache.download(space, "org/a", 60, cache.ada)
        locks = cache.root / ".locks/models--org--a"
        locks.mkdir(parents=True)
        with FileLock(locks / "digest.lock"), pytest.raises(DownloadFailed):
            await cache.download(space, "org/b", 60, cache.ada)
        assert await cache.download(space, "org/b", 60, cache.ada) == ["org/a"]


async def test_what_cannot_be_removed_is_left_for_the_next(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    remove = HubCache.remove

    def refuse(files: HubCache, model_id: str) -> None:
        if model_id == "org/a":
            raise PermissionError("not yours")
        remove(files, model_id)

    monkeypatch.setattr(HubCache, "remove", refuse)
    async with cache.space(limited(100)) as space:
        await cache.download(space, "org/a", 40, cache.ada)
        await cache.download(space, "org/b", 40, cache.ada)
        assert await cache.download(space, "org/c", 40, cache.ada) == ["org/b"]
        with pytest.raises(DownloadFailed):
            await cache.download(space, "org/d", 80, cache.ada)
    assert "org/a cannot be removed from the hub's cache: not yours" in caplog.text


async def test_a_disk_with_too_little_left_is_told_with_the_figures(cache: Cache) -> None:
    async with cache.space(SpaceRules(None, 2**60)) as space:
        with pytest.raises(DownloadFailed, match="disk is full: org/a needs 1,000 bytes more") as no:
            await cache.download(space, "org/a", 1000, cache.ada)
    assert f"{2**60:,} of them stay free" in str(no.value)
    assert str(cache.root) not in no.value.message


async def test_a_cache_that_cannot_be_written_is_told_without_its_path(cache: Cache) -> None:
    cache.root.write_text("a file where the folder should be")
    async with cache.space() as space:
        with pytest.raises(DownloadFailed, match="cannot be stored on this server") as no:
            await cache.download(space, "org/a", 1, cache.ada)
    assert str(cache.root) not in no.value.message


async def test_those_who_share_a_download_are_asked_for_their_own_limits(cache: Cache, server: HubServer) -> None:
    server.repos["org/a"] = Repo({**model(), "model.safetensors": weights(1000)}, {"pipeline_tag": "text-generation"})
    cache.quotas[cache.ada] = 100
    async with cache.space() as space:
        hub = Hub(HubSettings(server.url, cache.root, None, offline=False), space=space)
        ada, bob = (asyncio.create_task(hub.fetch("org/a", account_id=each)) for each in (cache.ada, cache.bob))
        with pytest.raises(QuotaExceeded, match="org/a needs 0 MB"):
            await ada
        assert (await bob / "model.safetensors").exists()
        assert [each.account_id for each in cache.store.downloads.list()] == [cache.bob]
        await hub.aclose()


async def test_a_model_that_was_removed_is_known_not_to_be_here(cache: Cache, server: HubServer) -> None:
    files = {**model(), "model.safetensors": weights(1000)}
    for name in ("org/a", "org/b"):
        server.repos[name] = Repo(files, {"pipeline_tag": "text-generation"})
    async with cache.space(limited(sum(map(len, files.values())))) as space:
        hub = Hub(HubSettings(server.url, cache.root, None, offline=False), space=space)
        for name in ("org/a", "org/b"):
            found = await hub.find(name)
            assert found is not None
            assert found.path is None
            await hub.fetch(name, account_id=cache.ada)
        first, second = await hub.find("org/a"), await hub.find("org/b")
        assert first is not None
        assert first.path is None
        assert second is not None
        assert second.path is not None
        assert (await hub.fetch("org/a", account_id=cache.ada)).is_dir()
        await hub.aclose()


def test_a_removal_that_is_killed_leaves_a_cache_that_the_hubs_tools_read(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "tests.catalog.killed_removals", str(tmp_path)]
    ended = subprocess.run(program, check=True, capture_output=True, text=True)
    assert int(ended.stdout) > 10, "each of them is killed at another step"
