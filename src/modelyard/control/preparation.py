"""Gets a model's files onto this machine before a replica needs them: one task per model, however many ask.

Owns the tasks and their outcome. Looks a model up before it fetches anything; does not decide who needs a model, nor
whether it fits.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from modelyard.catalog.catalog import Catalog
from modelyard.clock import Clock
from modelyard.engine.base import Fetch
from modelyard.errors import DownloadFailed, ModelyardError, QuotaExceeded
from modelyard.records.models import ModelCard, OnProgress, Progress, Source

log = logging.getLogger(__name__)

FAILURE_KEPT_S = 30.0
"""A failed preparation is remembered this long, then tried again by the next who asks."""


@dataclass(frozen=True, slots=True)
class Preparing:
    """Under way. `done_bytes` of `total_bytes` (0: not known yet) have been downloaded. `card`: what is being fetched;
    None while it is being looked up."""

    done_bytes: int = 0
    total_bytes: int = 0
    card: ModelCard | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """Looked up; its files are not here, and nothing is fetched before somebody says `fetch`."""

    card: ModelCard


@dataclass(frozen=True, slots=True)
class Prepared:
    """The files are here; `card.path` is set."""

    card: ModelCard


@dataclass(frozen=True, slots=True)
class NotPrepared:
    """It cannot be had; `at` is the monotonic time of that news."""

    error: ModelyardError
    at: float


Preparation = Preparing | Described | Prepared | NotPrepared


class Preparations:
    """Asks the catalog for models and keeps what it answered."""

    def __init__(self, catalog: Catalog, fetch: Fetch, clock: Clock, on_change: Callable[[], None]) -> None:
        """`fetch`: gets the files of a model that the catalog knows to where replicas find them; their folder.
        `on_change`: called whenever a model has got further."""
        self._catalog = catalog
        self._fetch = fetch
        self._clock = clock
        self._states: dict[str, Preparation] = {}
        self._refusals: dict[tuple[str, str], NotPrepared] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._on_change = on_change

    def offer(self, card: ModelCard) -> None:
        """Takes a card somebody has just looked up, so that a local model that is loaded as it is needs no task at
        all."""
        if card.is_here and not card.has_pickles and card.model_id not in self._tasks:
            self._states[card.model_id] = Prepared(card)

    def ensure(self, model_id: str, account_id: str) -> Preparation:
        """How far the model has got for an account; starts looking it up when nobody has. What is here is prepared by
        that alone. That an account may not have it downloaded is told once: another may, and it may itself once it has
        made room."""
        state = self._states.get(model_id)
        if isinstance(state, NotPrepared) and self._is_old(state):
            state = None
        if isinstance(state, Prepared) and not state.card.is_here:
            state = None
        if state is None:
            state = self._states[model_id] = Preparing()
            self._begin(model_id, self._look_up(model_id, account_id))
        if isinstance(state, Described):
            refusal = self._refusals.pop((model_id, account_id), None)
            return state if refusal is None or self._is_old(refusal) else refusal
        return state

    def fetch(self, model_id: str, account_id: str) -> Preparation:
        """Starts fetching what has been looked up, for this account; how far that has got. Idempotent."""
        state = self.ensure(model_id, account_id)
        if isinstance(state, Described):
            card, state = state.card, Preparing(card=state.card)
            self._states[model_id] = state
            self._begin(model_id, self._fetch_files(card, account_id))
        return state

    @property
    def under_way(self) -> bool:
        """Whether anything is being looked up or fetched."""
        return bool(self._tasks)

    def keep(self, wanted: Collection[str]) -> None:
        """Ends what is under way for models that nobody wants any more. What has come of them stays, and the next
        download goes on from there."""
        for model_id in [each for each in self._tasks if each not in wanted]:
            self._tasks.pop(model_id).cancel()
            del self._states[model_id]

    def find(self, model_id: str) -> Preparation | None:
        """How far the model has got, if anybody asked."""
        return self._states.get(model_id)

    def is_downloading(self, model_id: str) -> bool:
        """Whether the model's files are on their way; looking for them is quick and does not count."""
        state = self.find(model_id)
        return isinstance(state, Preparing) and state.total_bytes > 0

    def forget(self, model_id: str) -> None:
        """Looks the model up afresh the next time: its files may have changed."""
        if model_id not in self._tasks:
            self._states.pop(model_id, None)

    def forgive(self, model_id: str) -> None:
        """Tries a model that could not be had again as soon as somebody asks."""
        if isinstance(self._states.get(model_id), NotPrepared):
            del self._states[model_id]
        for key in [each for each in self._refusals if each[0] == model_id]:
            del self._refusals[key]

    async def close(self) -> None:
        """Cancels what is under way; a download resumes where it stopped when somebody asks again."""
        tasks = list(self._tasks.values())
        self.keep(())
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, model_id: str, work: Coroutine[Any, Any, Preparation]) -> None:
        """Runs one of the two parts; what it returns is how far the model has got."""
        task = asyncio.create_task(self._note_outcome(model_id, work), name=f"prepare {model_id}")
        self._tasks[model_id] = task
        task.add_done_callback(lambda done: work.close())  # cancelled before its first step, it was never awaited

    async def _look_up(self, model_id: str, account_id: str) -> Preparation:
        card = await self._catalog.get(model_id)
        if not card.is_here and Source.HUB in (card.source, card.base and card.base.source):
            return Described(replace(card, path=None) if card.source is Source.HUB else card)
        return await self._fetch_files(card, account_id)

    async def _fetch_files(self, card: ModelCard, account_id: str) -> Preparation:
        try:
            return Prepared(await fetch_all(self._fetch, card, self._on_progress, account_id))
        except QuotaExceeded as error:
            self._refusals = {key: each for key, each in self._refusals.items() if not self._is_old(each)}
            self._refusals[card.model_id, account_id] = NotPrepared(error, self._clock.monotonic())
            return Described(card)

    def _is_old(self, failure: NotPrepared) -> bool:
        return self._clock.monotonic() - failure.at >= FAILURE_KEPT_S

    async def _note_outcome(self, model_id: str, work: Coroutine[Any, Any, Preparation]) -> None:
        outcome: Preparation
        try:
            outcome = await work
        except ModelyardError as error:
            if error.detail is not None:  # accounts read the message in the cluster's log; the operator finds more here
                log.warning("%s", error)
            outcome = NotPrepared(error, self._clock.monotonic())
        except Exception:  # a bug; without an outcome the cluster would wait for ever
            log.exception("%s could not be prepared", model_id)
            failure = DownloadFailed(f"{model_id} could not be prepared; the server's log says why.", model=model_id)
            outcome = NotPrepared(failure, self._clock.monotonic())
        if self._tasks.get(model_id) is asyncio.current_task():
            del self._tasks[model_id]
            self._states[model_id] = outcome
            self._on_change()

    def _on_progress(self, progress: Progress) -> None:
        state = self._states.get(progress.model_id)
        if progress.model_id in self._tasks and isinstance(state, Preparing):  # a late report undoes no outcome
            self._states[progress.model_id] = replace(
                state, done_bytes=progress.done_bytes, total_bytes=progress.total_bytes
            )
            self._on_change()


async def fetch_all(fetch: Fetch, card: ModelCard, on_progress: OnProgress, account_id: str) -> ModelCard:
    """The card with the folders of its files, and of its base's where it is an adapter. Progress is told under its
    name. Raises what `fetch` does."""
    base = card.base
    if base is not None:

        def of_base(progress: Progress) -> None:
            on_progress(replace(progress, model_id=card.model_id))

        base = replace(base, path=await fetch(base, of_base, account_id))
    return replace(card, path=await fetch(card, on_progress, account_id), base=base)
