"""Models get onto this machine once, however many ask, and every outcome is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from modelyard.catalog.cache_space import CacheSpace, SpaceRules
from modelyard.catalog.catalog import Catalog
from modelyard.catalog.folders import Folders
from modelyard.catalog.hub import Hub
from modelyard.catalog.hub_settings import HubSettings
from modelyard.catalog.transfer import Patience
from modelyard.control.boots import download_words
from modelyard.control.preparation import FAILURE_KEPT_S, Described, NotPrepared, Preparations, Prepared, Preparing
from modelyard.control.states import ClusterStatus as Word
from modelyard.errors import DownloadFailed, NoCapacity, QuotaExceeded, UnknownModel
from modelyard.records.models import Progress
from tests.catalog.models import model, weights
from tests.clock import HandClock
from tests.control.control_plane import MIB, SMALL, ControlPlane, MakeControl
from tests.hub.server import HubServer, Repo
from tests.loop import turns

ADA = "acc_ada"
REMOTE = "acme/m"
WEIGHTS = "model.safetensors"


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer().running() as running:
        running.repos[REMOTE] = Repo({**model(), WEIGHTS: weights(1_000_000)}, {"pipeline_tag": "text-generation"})
        yield running


def open_hub(server: HubServer, folder: Path) -> Hub:
    return Hub(
        HubSettings(server.url, folder / "cache", None, False),
        patience=Patience(attempts=1, wait_s=0.01),
        progress_interval_s=0.01,
    )


@asynccontextmanager
async def limited(hub: Hub, control: ControlPlane) -> AsyncIterator[dict[str, int]]:
    """Gives what may be downloaded for each account, in bytes, by its id: 1 MiB for the first one, as much as there is
    for those that are not in it."""
    limits = {control.account: MIB}
    rules = SpaceRules(cache_bytes=None, kept_free_bytes=0)
    downloads, settled = control.store.downloads, control.journal.flush
    space = CacheSpace(hub.settings.cache_dir, downloads, rules, limits.get, control.clock, settled)
    hub._space = space
    yield limits
    await space.aclose()


class WatchedPreparations(Preparations):
    """`changed` is set whenever a model has got further."""

    def __init__(self, catalog: Catalog, clock: HandClock) -> None:
        self.changed = asyncio.Event()
        super().__init__(catalog, catalog.ensure_files, clock, self.changed.set)


def prepare_from(catalog: Catalog, clock: HandClock | None = None) -> WatchedPreparations:
    return WatchedPreparations(catalog, clock or HandClock())


async def outcome(preparations: WatchedPreparations, model_id: str) -> Described | Prepared | NotPrepared:
    """What became of a preparation that is under way."""
    changed = preparations.changed
    while isinstance(state := preparations.ensure(model_id, ADA), Preparing):
        changed.clear()
        async with asyncio.timeout(200):
            await changed.wait()
    return state


async def test_a_local_model_is_prepared_once_for_all_who_ask(models: Path) -> None:
    preparations = prepare_from(Catalog(Folders([models])))
    assert preparations.find(SMALL) is None
    assert {type(preparations.ensure(SMALL, ADA)) for _ in range(10)} == {Preparing}
    assert len(preparations._tasks) == 1
    state = await outcome(preparations, SMALL)
    assert isinstance(state, Prepared)
    assert state.card.path == models / SMALL
    assert preparations.ensure(SMALL, ADA) is state


async def test_a_card_that_was_looked_up_needs_no_task(models: Path) -> None:
    catalog = Catalog(Folders([models]))
    preparations = prepare_from(catalog)
    preparations.offer(await catalog.get(SMALL))
    assert isinstance(preparations.ensure(SMALL, ADA), Prepared)
    assert not preparations._tasks


async def test_a_failure_is_kept_for_a_while_and_forgiven_when_asked(models: Path) -> None:
    clock = HandClock()
    preparations = prepare_from(Catalog(Folders([models])), clock)
    failed = await outcome(preparations, "org/none")
    assert isinstance(failed, NotPrepared)
    assert isinstance(failed.error, UnknownModel)
    clock.advance(FAILURE_KEPT_S - 0.1)
    assert preparations.ensure("org/none", ADA) is failed
    preparations.forgive("org/none")
    assert isinstance(preparations.ensure("org/none", ADA), Preparing)
    again = await outcome(preparations, "org/none")
    clock.advance(FAILURE_KEPT_S)
    assert isinstance(preparations.ensure("org/none", ADA), Preparing)
    assert again is not failed
    await preparations.close()


async def test_what_is_prepared_is_looked_up_afresh_once_forgotten(models: Path) -> None:
    preparations = prepare_from(Catalog(Folders([models])))
    await outcome(preparations, SMALL)
    preparations.forgive(SMALL)
    assert isinstance(preparations.ensure(SMALL, ADA), Prepared)
    preparations.forget(SMALL)
    under_way = preparations.ensure(SMALL, ADA)
    preparations.forget(SMALL)
    assert preparations.find(SMALL) is under_way, "what is under way goes on"
    await outcome(preparations, SMALL)


async def test_where_a_download_failed_is_told_to_the_operator_alone(
    server: HubServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.faults.status = 503
    catalog = Catalog(Folders([]), open_hub(server, tmp_path))

    state = await outcome(prepare_from(catalog), REMOTE)

    assert isinstance(state, NotPrepared)
    assert server.url not in state.error.message
    assert server.url in caplog.text
    await catalog.aclose()


async def test_a_bug_in_the_catalogue_is_an_outcome_too(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    def explode(ids: object) -> dict[str, int]:
        raise ValueError("a bug")

    preparations = prepare_from(Catalog(Folders([models]), learned=explode))
    state = await outcome(preparations, SMALL)
    assert isinstance(state, NotPrepared)
    assert isinstance(state.error, DownloadFailed)
    assert "a bug" not in state.error.message
    assert "ValueError: a bug" in caplog.text


async def test_a_late_report_of_progress_does_not_undo_the_outcome(models: Path) -> None:
    preparations = prepare_from(Catalog(Folders([models])))
    state = await outcome(preparations, SMALL)
    preparations._on_progress(Progress(SMALL, 1, 2))
    assert preparations.ensure(SMALL, ADA) is state


async def test_a_close_ends_what_is_under_way(server: HubServer, models: Path, tmp_path: Path) -> None:
    hub = open_hub(server, tmp_path)
    reached, _ = server.hold(WEIGHTS, at=1_000_000)
    preparations = prepare_from(Catalog(Folders([models]), hub))
    assert isinstance(await outcome(preparations, REMOTE), Described)
    assert None not in server.ranges(WEIGHTS), "nothing is fetched before somebody says so"
    preparations.fetch(REMOTE, ADA)
    assert await asyncio.to_thread(reached.wait, 10)
    await preparations.close()
    assert not preparations._tasks
    server.release_all()
    await hub.aclose()


async def test_a_download_that_nobody_wants_any_more_ends_and_the_next_goes_on_from_there(
    make_control: MakeControl, server: HubServer, tmp_path: Path
) -> None:
    hub = open_hub(server, tmp_path)
    reached, release = server.hold(WEIGHTS, at=2_200_000)
    async with make_control(hub=hub) as control:
        await control.put(REMOTE)
        await control.put(REMOTE, control.other_account)
        await control.until(reached.is_set)
        control.desired.remove(control.clusters.get(control.account, REMOTE).cluster.id)
        control.step()
        assert control.preparations.under_way, "another account waits for it"
        control.desired.remove(control.clusters.get(control.other_account, REMOTE).cluster.id)
        control.step()
        assert not control.preparations.under_way
        assert control.preparations.find(REMOTE) is None
        release.set()
        await turns()
        assert not [*(tmp_path / "cache").glob(f"models--acme--m/snapshots/*/{WEIGHTS}")]
    await hub.aclose()


async def test_what_can_never_fit_is_not_fetched(make_control: MakeControl, server: HubServer, tmp_path: Path) -> None:
    hub = open_hub(server, tmp_path)
    async with make_control(hub=hub, memory_bytes=50 * MIB) as control:
        managed = await control.put(REMOTE)
        await control.until(lambda: managed.failure)
        assert isinstance(managed.failure, NoCapacity)
        assert "needs" in managed.failure.message
        assert "may use 50 MB" in managed.failure.message
        assert None not in server.ranges(WEIGHTS)
    await hub.aclose()


async def test_what_one_account_may_not_have_downloaded_another_may(
    make_control: MakeControl, server: HubServer, tmp_path: Path
) -> None:
    hub = open_hub(server, tmp_path)
    async with make_control(hub=hub) as control, limited(hub, control):
        mine = await control.put(REMOTE)
        await control.until(lambda: mine.failure)
        assert isinstance(mine.failure, QuotaExceeded)
        assert "acme/m needs 4 MB of disk" in mine.failure.message
        assert None not in server.ranges(WEIGHTS), "nothing was fetched"
        theirs = await control.put(REMOTE, control.other_account)
        await (await control.ask(REMOTE, control.other_account)).done()
        assert control.ready(theirs)
        assert isinstance(mine.failure, QuotaExceeded)
        assert not [each for each in await control.events(REMOTE, control.other_account) if "disk" in each]
        await control.put(REMOTE)
        await (await control.ask(REMOTE)).done()
        assert [each.account_id for each in control.store.downloads.list()] == [control.other_account]
    await hub.aclose()


async def test_a_limit_that_was_raised_is_known_with_the_next_put(
    make_control: MakeControl, server: HubServer, tmp_path: Path
) -> None:
    hub = open_hub(server, tmp_path)
    async with make_control(hub=hub) as control, limited(hub, control) as limits:
        managed = await control.put(REMOTE)
        await control.until(lambda: managed.failure)
        limits[control.account] = 10 * MIB
        await control.put(REMOTE)
        await (await control.ask(REMOTE)).done()
    await hub.aclose()


async def test_two_clusters_share_a_download_and_both_logs_tell_of_it(
    make_control: MakeControl, server: HubServer, tmp_path: Path
) -> None:
    hub = open_hub(server, tmp_path)
    reached, release = server.hold(WEIGHTS, at=2_200_000)
    async with make_control(hub=hub) as control:
        mine = await control.put(REMOTE)
        theirs = await control.put(REMOTE, control.other_account)
        waiting = await control.ask(REMOTE)
        await control.until(reached.is_set)
        await control.until(lambda: "50 % done" in str(mine.waiting_for))
        assert control.report(mine).status is control.report(theirs).status is Word.DOWNLOADING
        for _ in range(5):
            control.step(after_s=1)
        release.set()
        await waiting.done()
        await control.until(lambda: control.ready(theirs))
        whole = server.ranges(WEIGHTS).count(None)
        assert whole == 2, "fetched once: the hub's answer, and the content it points to"
        for account in (control.account, control.other_account):
            words = await control.events(REMOTE, account)
            assert words.count("downloading 4 MB, 50 % done") == 1
        assert control.engine.launched[0].path.startswith(str(tmp_path / "cache"))
        await turns()
    await hub.aclose()


async def test_a_download_that_fails_fails_who_waits_and_a_put_tries_again_at_once(
    make_control: MakeControl, server: HubServer, tmp_path: Path
) -> None:
    hub = open_hub(server, tmp_path)
    async with make_control(hub=hub) as control:
        await control.clusters.model(control.account, REMOTE)
        server.faults.cut_at[WEIGHTS] = [100_000]
        managed = await control.put(REMOTE)
        waiting = await control.ask(REMOTE)
        await control.until(lambda: managed.failure)
        with pytest.raises(DownloadFailed):
            await waiting.task
        assert control.report(managed).status is Word.FAILED
        await control.put(REMOTE)
        await (await control.ask(REMOTE)).done()
    await hub.aclose()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Preparing(), "looking for the model's files"),
        (Preparing(0, 2 * 1024**3), "downloading 2.0 GB, 0 % done"),
        (Preparing(1024**3, 2 * 1024**3), "downloading 2.0 GB, 50 % done"),
        (Preparing(1024**3 + 99_999_999, 2 * 1024**3), "downloading 2.0 GB, 50 % done"),
        (Preparing(2 * 1024**3, 2 * 1024**3), "downloading 2.0 GB, 100 % done"),
    ],
)
def test_progress_is_told_in_tenths(state: Preparing, words: str) -> None:
    assert download_words(state) == words
