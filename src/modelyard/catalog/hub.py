"""The hub as a source of models: look up, list what is cached, fetch.

Owns the memory of recent lookups and the table of running downloads; both belong to the event loop. Network and disk
work happens on threads of its own, so that a slow hub holds up nobody else. What is complete on this machine is
served whatever the hub says or does not say.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ParamSpec, TypeVar

from modelyard.catalog.access import OPEN, Access
from modelyard.catalog.download import Download
from modelyard.catalog.found import Found
from modelyard.catalog.hub_cache import HubCache
from modelyard.catalog.hub_client import HubClient
from modelyard.catalog.hub_lookup import Answer, HubLookup, Plan
from modelyard.catalog.hub_settings import HubSettings, read_hub_settings
from modelyard.catalog.lookups import LookupBudget
from modelyard.catalog.space import FreeSpace, Space
from modelyard.catalog.transfer import Patience, Transfer
from modelyard.clock import Clock, SystemClock
from modelyard.errors import QuotaExceeded
from modelyard.records.files import repository_of
from modelyard.records.models import OnProgress, check_model_id

MAX_REMEMBERED = 10_000
LOOKUPS_AT_ONCE = 8
FILES_AT_ONCE = 4
PROGRESS_INTERVAL_S = 0.25

P = ParamSpec("P")
T = TypeVar("T")


class Hub:
    """One hub and the cache of its files on this machine. Belongs to one event loop; close with `aclose`."""

    def __init__(
        self,
        settings: HubSettings | None = None,
        *,
        clock: Clock | None = None,
        patience: Patience | None = None,
        progress_interval_s: float = PROGRESS_INTERVAL_S,
        lookups_per_minute: int = 0,
        access: Access = OPEN,
        space: Space | None = None,
    ) -> None:
        """`settings` None: as the environment says. `lookups_per_minute`: that one account may cause; 0: any number.
        `access`: who may see private and gated models. `space`: what makes room for downloads; None: the disk has it,
        or not."""
        self.settings = settings or read_hub_settings()
        self._clock = clock or SystemClock()
        self._patience = patience or Patience()
        self._progress_interval_s = progress_interval_s
        self._client = HubClient(self.settings)
        self._cache = HubCache(self.settings.cache_dir)
        self._lookup = HubLookup(self._client, self._cache, offline=self.settings.offline)
        self._answers: dict[str, tuple[float, Answer]] = {}
        self._lookups: dict[str, asyncio.Task[Answer]] = {}
        self._budget = LookupBudget(lookups_per_minute, self._clock)
        self._access = access
        self._space = space or FreeSpace(self._cache)
        self._denied: dict[tuple[str, str], float] = {}
        self._downloads: dict[tuple[str, str | None], tuple[Download, asyncio.Task[Path]]] = {}
        self._threads = ThreadPoolExecutor(LOOKUPS_AT_ONCE, thread_name_prefix="hub")

    def __str__(self) -> str:
        """As people are told where was looked."""
        if self.settings.offline:
            return f"the cache {self.settings.cache_dir} (HF_HUB_OFFLINE is set)"
        private = " (without HF_TOKEN, so not in private models)" if self._client.anonymous else ""
        return self.settings.endpoint + private

    async def find(self, model_id: str, account_id: str | None = None) -> Found | None:
        """The model as the hub describes it, without downloading it; None when there is none.

        `account_id`: on whose budget of lookups a question goes; None: it is the server's own.

        Answers are remembered: found for 5 min, missing for 30 s, failed for 5 s. Callers who ask at once share one
        question. A found model whose answer has expired is returned at once and asked about behind the scenes, so
        that a model in use never waits for the hub. Offline, the cache is all there is. An account that may not see the
        model is told what it would be told if nobody had fetched it, and pays for that lookup. Raises InvalidRequest,
        ModelRefused (gated, private), DownloadFailed (the hub does not answer, and the cache does not hold the model),
        Throttled (the account has had too many looked up).
        """
        check_model_id(model_id)
        if account_id is None or self._access.may_use(account_id, model_id):
            answer = await self._find_answer(model_id, account_id)
            if account_id is not None and not self._access.may_use(account_id, model_id):  # as has just been learned
                answer = self._deny(account_id, model_id, answer)
        else:
            answer = await self._find_for_stranger(account_id, model_id)
        if answer.error is not None:
            raise answer.error.with_traceback(None)
        return answer.found

    async def _find_answer(self, model_id: str, account_id: str | None) -> Answer:
        expires_at_s, answer = self._answers.get(model_id, (0.0, None))
        expired = self._clock.monotonic() >= expires_at_s
        asked = model_id in self._lookups
        if answer is None or (expired and answer.found is None):
            if not asked:
                self._budget.take(account_id, model_id)
            answer = await asyncio.shield(self._look_up(model_id))
        elif expired and (asked or self._budget.may_take(account_id)):
            self._look_up(model_id)
        return answer

    async def _find_for_stranger(self, account_id: str, model_id: str) -> Answer:
        """The hub is asked as about a name that nobody knows, so that neither time nor budget tells the difference."""
        _, answer = self._answers.get(model_id, (0.0, None))
        if answer is not None and self._clock.monotonic() < self._denied.get((account_id, model_id), 0.0):
            return answer.to_strangers or answer
        self._budget.take(account_id, model_id)
        answer = await asyncio.shield(self._look_up(model_id))
        if self._access.may_use(account_id, model_id):
            return answer
        return self._deny(account_id, model_id, answer)

    def _deny(self, account_id: str, model_id: str, answer: Answer) -> Answer:
        """What the account is told instead, for as long as it would be remembered."""
        told = answer.to_strangers or answer
        self._denied.pop((account_id, model_id), None)
        self._denied[account_id, model_id] = self._clock.monotonic() + told.ttl_s
        if len(self._denied) > MAX_REMEMBERED:
            del self._denied[next(iter(self._denied))]
        return told

    async def list(self) -> builtins.list[Found]:
        """The models that are complete in the cache, and those looked up of late; in no order."""
        cached = await self._run(self._lookup.complete_in_cache)
        models = {found.model_id: found for found in cached}
        for _, answer in self._answers.values():
            if answer.found and (answer.found.path or answer.found.model_id not in models):
                models[answer.found.model_id] = answer.found
        return [*models.values()]

    def find_known(self, model_id: str) -> Found | None:
        """The model as it was last looked up; None when it has not been of late. Asks nobody."""
        _, answer = self._answers.get(model_id, (0.0, None))
        return None if answer is None else answer.found

    def known_ids(self, account_id: str | None = None) -> set[str]:
        """Ids of which something is known here and that the account may see; to guess what a mistyped one means. Reads
        one directory."""
        seen = {model_id for model_id, (_, answer) in list(self._answers.items()) if answer.found}
        return {each for each in seen.union(self._cache.model_ids()) if self._access.may_use(account_id, each)}

    async def fetch(
        self,
        model_id: str,
        revision: str | None = None,
        on_progress: OnProgress | None = None,
        account_id: str | None = None,
    ) -> Path:
        """The folder with the model's files, once all that serving needs are there.

        `account_id`: for whom they are downloaded, if they must be; None: for the server itself. However many ask,
        each file is downloaded once, by one thread of one process. A file that broke off goes on where it stopped, also
        after this process was killed. Cancelling leaves; when the last waiter has left, the download stops and keeps
        what it has. Raises DownloadFailed, ModelRefused; QuotaExceeded when the account may not have as much.
        """
        check_model_id(model_id)
        while True:
            download, task = self._ensure_download(model_id, revision, account_id)
            try:
                return await download.wait(task, on_progress)
            except QuotaExceeded:
                if download.account_id == account_id:
                    raise  # else it is no news to this account: its own limit is asked next

    def _ensure_download(
        self, model_id: str, revision: str | None, account_id: str | None
    ) -> tuple[Download, asyncio.Task[Path]]:
        """The download that is under way, whoever asked for it, or a new one."""
        key = (model_id, revision)
        download, task = self._downloads.get(key, (None, None))
        if download is None or task is None or task.done() or download.stop.is_set():
            download = Download(model_id, account_id)
            task = asyncio.create_task(self._fetch(download, revision), name=f"fetch {model_id}")
            self._downloads[key] = (download, task)
            task.add_done_callback(lambda done: self._forget(key, done))
        return download, task

    async def aclose(self) -> None:
        """Stops downloads and lookups. What came of a download stays and is used by the next one."""
        tasks = [*self._lookups.values(), *(task for _, task in self._downloads.values())]
        for download, _ in self._downloads.values():
            download.stop.set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _look_up(self, model_id: str) -> asyncio.Task[Answer]:
        """The question about this model that is under way, or a new one."""
        task = self._lookups.get(model_id)
        if task is None:
            task = self._lookups[model_id] = asyncio.create_task(self._ask(model_id), name=f"look up {model_id}")
            task.add_done_callback(lambda done: self._lookups.pop(model_id, None))
        return task

    async def _ask(self, model_id: str) -> Answer:
        _, known = self._answers.get(model_id, (0.0, None))
        answer = await self._run(self._lookup.look, model_id, known)
        if answer.restricted is not None:
            await self._run(self._access.note, repository_of(model_id), answer.restricted)
        self._remember(model_id, answer)
        return answer

    def _remember(self, model_id: str, answer: Answer) -> None:
        """Keeps the answer; the oldest is forgotten when there are too many."""
        self._answers.pop(model_id, None)
        self._answers[model_id] = (self._clock.monotonic() + answer.ttl_s, answer)
        if len(self._answers) > MAX_REMEMBERED:
            del self._answers[next(iter(self._answers))]

    async def _fetch(self, download: Download, revision: str | None) -> Path:
        model_id = download.model_id
        _, known = self._answers.get(model_id, (0.0, None))
        plan = await self._run(self._lookup.plan, model_id, revision, known)
        path = plan if isinstance(plan, Path) else await self._carry_out(plan, download)
        expires_at_s, answer = self._answers.get(model_id, (0.0, None))
        if answer and answer.found and answer.found.revision == path.name:
            self._answers[model_id] = (expires_at_s, replace(answer, found=replace(answer.found, path=path)))
        return path

    async def _carry_out(self, plan: Plan, download: Download) -> Path:
        needed_bytes = await self._run(self._lookup.missing_bytes, plan)
        repository_id = plan.repository.model_id
        async with self._space.room_for(repository_id, needed_bytes, download.account_id) as removed:
            for removed_id in removed:
                self._forget_files(removed_id)
            return await self._transfer(plan, download, needed_bytes)

    def _forget_files(self, repository_id: str) -> None:
        """A repository's files are not here any more."""
        for model_id, (expires_at_s, answer) in list(self._answers.items()):
            if repository_of(model_id) == repository_id and answer.found is not None:
                self._answers[model_id] = (expires_at_s, replace(answer, found=replace(answer.found, path=None)))

    async def _transfer(self, plan: Plan, download: Download, needed_bytes: int) -> Path:
        download.meter.total_bytes = plan.total_bytes
        download.meter.add(plan.total_bytes - needed_bytes)
        download.report()
        transfer = Transfer(self._client, self._cache, download.stop, download.meter.add, self._patience)
        threads = ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix=f"fetch {download.model_id}")
        try:
            for names in (plan.small, plan.weights):
                files = [asyncio.wrap_future(threads.submit(transfer.ensure, plan.repository, name)) for name in names]
                await self._report_until(asyncio.gather(*files), download)
        finally:
            download.stop.set()  # after a failure or cancellation the other files' threads end too
            threads.shutdown(wait=False, cancel_futures=True)
        if plan.is_main:
            await self._run(self._cache.remember_main, plan.repository)
        download.meter.done_bytes = plan.total_bytes
        download.report()
        return self._cache.snapshot_path(download.model_id, plan.repository.commit)

    async def _report_until(self, work: asyncio.Future[builtins.list[Path]], download: Download) -> None:
        work.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, should nobody wait by then
        while not work.done():
            await asyncio.wait([work], timeout=self._progress_interval_s)
            download.report()
        await work

    def _forget(self, key: tuple[str, str | None], done: asyncio.Task[Path]) -> None:
        if key in self._downloads and self._downloads[key][1] is done:
            del self._downloads[key]
        if not done.cancelled():
            done.exception()  # seen: every waiter may have left before it failed

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
