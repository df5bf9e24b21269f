"""Gets a model's files onto this machine before a replica needs them: one task per model, however many ask.

Owns the tasks and their outcome. Does not decide who needs a model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from modelyard.catalog.catalog import Catalog
from modelyard.clock import Clock
from modelyard.engine.base import Fetch
from modelyard.errors import DownloadFailed, ModelyardError
from modelyard.records.models import ModelCard, Progress

log = logging.getLogger(__name__)

FAILURE_KEPT_S = 30.0
"""A failed preparation is remembered this long, then tried again by the next who asks."""


@dataclass(frozen=True, slots=True)
class Preparing:
    """Under way. `done_bytes` of `total_bytes` (0: not known yet) have been downloaded."""

    done_bytes: int = 0
    total_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Prepared:
    """The files are here; `card.path` is set."""

    card: ModelCard


@dataclass(frozen=True, slots=True)
class NotPrepared:
    """It cannot be had; `at` is the monotonic time of that news."""

    error: ModelyardError
    at: float


Preparation = Preparing | Prepared | NotPrepared


class Preparations:
    """Asks the catalog for models and keeps what it answered."""

    def __init__(self, catalog: Catalog, fetch: Fetch, clock: Clock, on_change: Callable[[], None]) -> None:
        """`fetch`: gets the files of a model that the catalog knows to where replicas find them; their folder.
        `on_change`: called whenever a model has got further."""
        self._catalog = catalog
        self._fetch = fetch
        self._clock = clock
        self._states: dict[str, Preparation] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._on_change = on_change

    def offer(self, card: ModelCard) -> None:
        """Takes a card somebody has just looked up, so that a local model needs no task at all."""
        if card.path is not None and card.model_id not in self._tasks:
            self._states[card.model_id] = Prepared(card)

    def ensure(self, model_id: str) -> Preparation:
        """How far the model has got; starts preparing it when nobody has."""
        state = self._states.get(model_id)
        if isinstance(state, NotPrepared) and self._clock.monotonic() - state.at >= FAILURE_KEPT_S:
            state = None
        if state is None:
            state = self._states[model_id] = Preparing()
            self._tasks[model_id] = asyncio.create_task(self._prepare(model_id), name=f"prepare {model_id}")
        return state

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

    async def close(self) -> None:
        """Cancels what is under way; a download resumes where it stopped when somebody asks again."""
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _prepare(self, model_id: str) -> None:
        try:
            card = await self._catalog.get(model_id)
            path = await self._fetch(card, self._on_progress)
            self._states[model_id] = Prepared(replace(card, path=path))
        except ModelyardError as error:
            self._states[model_id] = NotPrepared(error, self._clock.monotonic())
        except Exception:  # a bug; without an outcome the cluster would wait for ever
            log.exception("%s could not be prepared", model_id)
            failure = DownloadFailed(f"{model_id} could not be prepared; the server's log says why.", model=model_id)
            self._states[model_id] = NotPrepared(failure, self._clock.monotonic())
        finally:
            self._tasks.pop(model_id, None)
            self._on_change()

    def _on_progress(self, progress: Progress) -> None:
        if progress.model_id in self._tasks:  # a late report must not undo the outcome
            self._states[progress.model_id] = Preparing(progress.done_bytes, progress.total_bytes)
            self._on_change()
