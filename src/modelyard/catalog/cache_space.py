"""Room in the hub's cache, by what each account may have there and what all models together may take.

Owns which downloads are under way and for whom earlier ones were. Files that nobody uses make room, in the order of
`space_plan`. Looking and removing happen on one thread, for one download after the other.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelyard.catalog.cached_models import look_at
from modelyard.catalog.hub_cache import HubCache
from modelyard.catalog.made_files import MadeFiles
from modelyard.catalog.space import disk_full
from modelyard.catalog.space_plan import ACCOUNT, CACHE, ModelFiles, Shortage, SpaceLimits, plan_space
from modelyard.clock import Clock
from modelyard.errors import DownloadFailed, ModelyardError, QuotaExceeded
from modelyard.records.downloads import DownloadRecord
from modelyard.records.files import repository_of
from modelyard.records.variants import split_variant
from modelyard.store.downloads import Downloads
from modelyard.units import gigabytes

log = logging.getLogger(__name__)

QuotaOf = Callable[[str], int | None]
"""What the files downloaded for an account, by its id, may take; None: as much as there is."""
Settled = Callable[[], Awaitable[None]]
"""Returns once the store knows of every replica that has ended: until then its model would seem to be in use."""
OWN, ANY = "own", "any"
"""What may be removed: what this server has downloaded, or any model."""


@dataclass(frozen=True, slots=True)
class SpaceRules:
    """`cache_bytes`: what all models in the cache may take; None: what the disk has. `kept_free_bytes`: of the disk.
    `removes`: OWN, ANY, or any other word for nothing."""

    cache_bytes: int | None
    kept_free_bytes: int
    removes: str = OWN


@dataclass(eq=False, slots=True)
class Reservation:
    """Room for one download, for an account whose files may take `limit_bytes` in all. `whole_bytes`: what its model
    takes once it is here; 0: it has no room yet. `made`: it is no download, and lies elsewhere."""

    model_id: str
    needed_bytes: int
    account_id: str | None
    limit_bytes: int | None
    whole_bytes: int = 0
    made: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """The cache at one moment. `records`: of the downloads whose files are still there; `users`: as the store says.
    `made`: what lies elsewhere and counts for accounts as well, by where it lies."""

    models: Mapping[str, ModelFiles]
    made: Mapping[str, ModelFiles]
    records: Mapping[str, DownloadRecord]
    users: Mapping[str, Sequence[str]]


class CacheSpace:
    """Room for the downloads of one server. `room_for` belongs to the event loop; close with `aclose`."""

    def __init__(
        self,
        cache_dir: Path,
        downloads: Downloads,
        rules: SpaceRules,
        quota_of: QuotaOf,
        clock: Clock,
        settled: Settled,
        made: Callable[[], Iterable[MadeFiles]] = tuple,
    ) -> None:
        """`made`: what has been made of models outside the cache; called on the thread."""
        self._made = made
        self._cache = HubCache(cache_dir)
        self._downloads = downloads
        self._rules = rules
        self._quota_of = quota_of
        self._clock = clock
        self._settled = settled
        self._reservations: set[Reservation] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache space")

    async def aclose(self) -> None:
        """Ends what is under way, once a model that is being removed is removed."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    @asynccontextmanager
    async def room_for(
        self, model_id: str, needed_bytes: int, account_id: str | None
    ) -> AsyncIterator[Collection[str]]:
        """Makes room and keeps it while the block runs; yields the models removed for it.

        The model counts for this account from now on, unless it does for another one that uses it; None: the server
        itself, for which nothing is noted. Raises QuotaExceeded, DownloadFailed, both with the figures and before
        anything is removed; Unavailable.
        """
        limit_bytes = None if account_id is None else self._quota_of(account_id)
        reservation = Reservation(model_id, needed_bytes, account_id, limit_bytes)
        self._reservations.add(reservation)
        try:
            await self._settled()
            yield await asyncio.get_running_loop().run_in_executor(self._thread, self._make_room, reservation)
        finally:
            self._reservations.discard(reservation)

    @asynccontextmanager
    async def room_for_made(self, model_id: str, needed_bytes: int, account_id: str) -> AsyncIterator[None]:
        """Keeps room within what an account may have for files that are made of a model outside the cache, while the
        block runs. What counts for the account and nobody uses goes for it. Raises QuotaExceeded before anything is
        removed; Unavailable."""
        if (limit_bytes := self._quota_of(account_id)) is None:
            yield
            return
        reservation = Reservation(model_id, needed_bytes, account_id, limit_bytes, made=True)
        self._reservations.add(reservation)
        try:
            await self._settled()
            await asyncio.get_running_loop().run_in_executor(self._thread, self._make_room, reservation)
            yield
        finally:
            self._reservations.discard(reservation)

    # --- on the thread ---

    def _make_room(self, wanted: Reservation) -> Sequence[str]:
        removed: list[str] = []
        stuck: set[str] = set()
        while True:
            seen = self._look(stuck)
            limits = self._limits(wanted)
            files = [*seen.models.values(), *seen.made.values()]
            plan = plan_space(files, wanted.needed_bytes, wanted.account_id or "", limits)
            if isinstance(plan, Shortage):
                refusal = self._refusal(wanted, plan, limits, "downloaded and made" if seen.made else "downloaded")
                log.warning("nothing is %s: %s", "made" if wanted.made else "downloaded", refusal)
                raise refusal
            if not plan:
                self._begin(wanted, seen)
                return removed
            first = plan[0]  # one at a time: who uses what may change meanwhile
            if self._remove(first, wanted, made=first.model_id in seen.made):
                removed.append(first.model_id)
            else:
                stuck.add(first.model_id)

    def _limits(self, wanted: Reservation) -> SpaceLimits:
        if wanted.made:  # whoever makes it looks after the disk
            return SpaceLimits(wanted.limit_bytes, None, sys.maxsize, 0)
        return SpaceLimits(
            account_bytes=wanted.limit_bytes,
            cache_bytes=self._rules.cache_bytes,
            free_bytes=self._cache.free_bytes(),
            kept_free_bytes=self._rules.kept_free_bytes,
        )

    def _look(self, stuck: Collection[str]) -> Seen:
        """The cache as it is now. `stuck`: models that could not be removed."""
        users = self._downloads.list_users()
        records = {each.model_id: each for each in list_kept(self._downloads, self._cache)}
        coming = self._coming()
        models = {
            name: self._look_at(name, coming.get(name), records.get(name), users.get(name, ()), name in stuck)
            for name in {*self._cache.model_ids(), *coming}
        }
        return Seen(models, self._look_at_made(users, stuck), records, users)

    def _look_at_made(self, users: Mapping[str, Sequence[str]], stuck: Collection[str]) -> Mapping[str, ModelFiles]:
        """What lies elsewhere and counts for accounts, what is being made among it. It takes nothing of the cache."""
        never = datetime.min.replace(tzinfo=UTC)
        coming = {
            f"{each.model_id}, being made": ModelFiles(
                each.model_id, 0, never, False, counted_for=each.account_id, counted_bytes=each.whole_bytes
            )
            for each in list(self._reservations)
            if each.made and each.whole_bytes
        }
        there = {}
        for each in self._made():
            own = users.get(repository_of(split_variant(each.model_id)[0]), ())
            payer = each.account_id if each.account_id in own or not own else own[0]
            place = str(each.path)
            may_go = each.removable and not own and place not in stuck
            there[place] = ModelFiles(place, 0, never, may_go, counted_for=payer, counted_bytes=each.size_bytes)
        return coming | there

    def _coming(self) -> Mapping[str, int]:
        """What each model that is being downloaded takes once it is here, at least."""
        coming: dict[str, int] = {}
        for each in [one for one in self._reservations if not one.made]:
            coming[each.model_id] = max(coming.get(each.model_id, 0), each.whole_bytes)
        return coming

    def _look_at(
        self, model_id: str, whole_bytes: int | None, record: DownloadRecord | None, users: Sequence[str], stuck: bool
    ) -> ModelFiles:
        size_bytes = self._cache.size_bytes(model_id)
        coming_bytes = max(0, (whole_bytes or 0) - size_bytes)
        may_remove = self._rules.removes == ANY or (self._rules.removes == OWN and is_own(record, size_bytes))
        unused = not users and whole_bytes is None and not stuck
        return ModelFiles(
            model_id,
            size_bytes,
            used_at=self._used_at(model_id, record),
            removable=unused and may_remove and not self._cache.is_being_filled(model_id),
            coming_bytes=coming_bytes,
            counted_for=None if record is None else find_payer(record, users),
            counted_bytes=0 if record is None else count(record, size_bytes + coming_bytes),
        )

    def _used_at(self, model_id: str, record: DownloadRecord | None) -> datetime:
        if record is not None:
            return record.used_at
        if self._rules.removes != ANY:  # then nobody asks
            return datetime.min.replace(tzinfo=UTC)
        return datetime.fromtimestamp(look_at(model_id, "hub", self._cache.folder(model_id)).used_at_s, UTC)

    def _remove(self, files: ModelFiles, wanted: Reservation, *, made: bool) -> bool:
        """Whether it could be removed. `made`: it lies elsewhere."""
        if made:
            shutil.rmtree(files.model_id, ignore_errors=True)
            log.info("%s, made of a model that nobody uses, is removed: %s needs room", files.model_id, wanted.model_id)
            return not Path(files.model_id).exists()
        try:
            self._cache.remove(files.model_id)
        except OSError as error:
            log.warning("%s cannot be removed from the hub's cache: %s", files.model_id, error)
            return False
        log.info(
            "%s, %s that nobody has used since %s, is removed from the hub's cache: %s needs %s",
            files.model_id,
            gigabytes(files.size_bytes),
            f"{files.used_at:%Y-%m-%d %H:%M} UTC",
            wanted.model_id,
            gigabytes(wanted.needed_bytes),
        )
        return True

    def _begin(self, wanted: Reservation, seen: Seen) -> None:
        """Notes that it has room and, of a download, for whom it is."""
        if wanted.made:
            wanted.whole_bytes = wanted.needed_bytes
            return
        files = seen.models[wanted.model_id]
        whole_bytes = files.size_bytes + wanted.needed_bytes
        if wanted.account_id is not None:
            earlier, users = seen.records.get(wanted.model_id), seen.users.get(wanted.model_id, ())
            payer = wanted.account_id if earlier is None else find_payer(earlier, users)
            record = DownloadRecord(
                wanted.model_id,
                payer if payer in users else wanted.account_id,
                mark=secrets.token_hex(16) if earlier is None else earlier.mark,
                size_bytes=whole_bytes,
                others_bytes=others_bytes(earlier, files.size_bytes),
                used_at=self._clock.now(),
            )
            self._downloads.put(record)
            self._mark(record)
        wanted.whole_bytes = whole_bytes

    def _mark(self, record: DownloadRecord) -> None:
        try:
            self._cache.write_mark(record.model_id, record.mark)
        except OSError as error:
            raise DownloadFailed(
                f"{record.model_id} cannot be stored on this server.", detail=f"In {self._cache.root}: {error}."
            ) from error

    def _refusal(self, wanted: Reservation, shortage: Shortage, limits: SpaceLimits, what: str) -> ModelyardError:
        model_id, needed = wanted.model_id, gigabytes(wanted.needed_bytes)
        if shortage.cause == ACCOUNT:
            return QuotaExceeded(
                f"{model_id} needs {needed} of disk. What is {what} for your account may take "
                f"{gigabytes(shortage.limit_bytes)} in all, and {gigabytes(shortage.staying_bytes)} of that must stay.",
                cause=ACCOUNT,
                model=model_id,
                limit_bytes=shortage.limit_bytes,
                held_bytes=shortage.staying_bytes,
                needed_bytes=wanted.needed_bytes,
            )
        if shortage.cause == CACHE:
            return DownloadFailed(
                f"There is no room on this server's disk for {model_id}, which needs {needed}.",
                detail=f"Models in {self._cache.root} may take {gigabytes(shortage.limit_bytes)} in all, and "
                f"{gigabytes(shortage.staying_bytes)} of that must stay: models that are in use, or that this server "
                "has not downloaded.",
                cause=CACHE,
                model=model_id,
                needed_bytes=wanted.needed_bytes,
            )
        return disk_full(
            model_id,
            wanted.needed_bytes,
            f"{limits.free_bytes:,} are free in {self._cache.root}, {limits.kept_free_bytes:,} of them stay free, "
            f"downloads under way take {shortage.taken_bytes:,}; removing what may be removed frees "
            f"{shortage.removable_bytes:,}. Make room, or set HF_HOME to a larger disk.",
        )


def list_kept(downloads: Downloads, cache: HubCache) -> Sequence[DownloadRecord]:
    """The records of downloads whose files are still there. Reads a small file for each."""
    return [each for each in downloads.list() if cache.read_mark(each.model_id) == each.mark]


def is_own(record: DownloadRecord | None, size_bytes: int) -> bool:
    """Whether all that lies there was downloaded by this server."""
    return record is not None and not record.others_bytes and size_bytes <= record.size_bytes


def count(record: DownloadRecord, size_bytes: int) -> int:
    """What of a model's files was downloaded by this server."""
    return max(0, min(size_bytes, record.size_bytes) - record.others_bytes)


def others_bytes(earlier: DownloadRecord | None, size_bytes: int) -> int:
    """What of a model's files other tools have put there, as far as the last download tells."""
    if earlier is None:
        return size_bytes
    return earlier.others_bytes + max(0, size_bytes - earlier.size_bytes)


def find_payer(record: DownloadRecord, users: Sequence[str]) -> str:
    """For whom a model counts: for the account it was downloaded for, as long as that uses it or nobody does; else for
    the first of those that do. `users`: their ids, in order."""
    return record.account_id if record.account_id in users or not users else users[0]
