"""The catalogue's rows kept in step with what there is: the shipped list, local folders, models of the hub.

Owns when to look and what is written of it, all for the sake of lists: no cluster and no inference depends on it, and
a look that fails leaves the rows as they are. Looks cost little while nothing changes, and never block the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from itertools import islice

from modelyard.catalog.catalog import Catalog, Surveyed
from modelyard.catalog.provided import PROVIDER, Provided
from modelyard.catalog.published import read_published
from modelyard.clock import Clock
from modelyard.errors import ModelyardError
from modelyard.records.adapters import describe_adapter
from modelyard.records.files import repository_of
from modelyard.records.models import ONNX, OPENVINO, Listing, ModelCard, Source
from modelyard.records.variants import split_variant
from modelyard.store.store import Store

log = logging.getLogger(__name__)

PATIENCE_S = 1.0
"""A list waits this long for a look that has just begun, where looks are quick; what a longer one finds comes later."""
QUICK_S = 0.01
"""Where a look without news takes longer, lists do not wait for looks."""
REST_PER_LOOK = 20
"""After a look there is none for this many times as long as it took, and at most MAX_REST_S."""
MAX_REST_S = 5.0
CHECKED_PER_LOOK = 50
"""Folders that one look compares with what was seen in them, in turn."""
INSPECTED_AT_ONCE = 100
"""New folders that are read before their rows are written."""
STAMP = "stamp"
"""The fact that tells whether a folder's row is still true."""
UNSEEN = ""
"""The stamp of a folder that nobody has looked into."""


class Index:
    """Keeps the table. Belongs to the event loop; `start` it, and `close` it before the catalog and the store."""

    def __init__(self, catalog: Catalog, store: Store, clock: Clock, provided: Provided | None = None) -> None:
        """`provided`: the closed models that are listed too."""
        self._provided = provided
        self._catalog = catalog
        self._store = store
        self._clock = clock
        self._opened = False
        self._ids: Sequence[str] = ()
        self._stamps: dict[str, str | None] = {}
        self._hub: dict[str, ModelCard] = {}
        self._soon: dict[str, None] = {}  # an ordered set
        self._due: Iterator[str] = iter(())
        self._swept = False
        self._look: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None
        self._begun_at = self._rested_at = clock.monotonic()
        self._slow = False

    def start(self) -> None:
        """Begins to look, and looks into every folder known from before once, at leisure."""
        self._begin()
        self._sweep = asyncio.create_task(self._sweep_once(), name="index sweep")

    async def close(self) -> None:
        """Stops looking."""
        tasks = [task for task in (self._look, self._sweep) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def refresh(self) -> None:
        """Makes the table true, or begins to: returns when it is, after PATIENCE_S, or at once where looks are slow."""
        self._begin()
        left_s = self._begun_at + PATIENCE_S - self._clock.monotonic()
        if self._look is not None and not self._slow and left_s > 0:
            await asyncio.wait([self._look], timeout=left_s)

    def shown(self, listings: Collection[Listing]) -> None:
        """Tells which rows people see: their folders are compared first."""
        self._soon |= {each.model_id: None for each in listings if each.source == Source.FOLDER}

    # --- when to look ---

    def _begin(self) -> None:
        now = self._clock.monotonic()
        if (self._look is None or self._look.done()) and now >= self._rested_at:
            self._begun_at = now
            self._look = asyncio.create_task(self._look_and_rest(), name="index")

    async def _look_and_rest(self) -> None:
        rest_s = MAX_REST_S
        try:
            news = await self._look_around()
            took_s = self._clock.monotonic() - self._begun_at
            rest_s = min(took_s * REST_PER_LOOK, MAX_REST_S)
            self._slow = self._slow if news else took_s > QUICK_S
        except ModelyardError as error:
            log.warning("the catalogue could not be brought up to date: %s", error)
        except Exception:
            log.exception("the catalogue could not be brought up to date")
        finally:
            self._rested_at = self._clock.monotonic() + rest_s

    async def _sweep_once(self) -> None:
        while not self._swept:
            self._begin()
            if self._look is not None:
                await asyncio.wait([self._look])
            await asyncio.sleep(max(0.0, self._rested_at - self._clock.monotonic()))

    # --- what is there ---

    async def _look_around(self) -> bool:
        """Whether there was news."""
        news = not self._opened
        if not self._opened:
            await self._open()
        ids = await self._catalog.folder_ids()
        if ids is not self._ids:
            await self._compare(ids)
            self._ids, news = ids, True
        news |= await self._check(self._next())
        news |= await self._take_hub()
        return news

    async def _open(self) -> None:
        listed = await asyncio.to_thread(self._store.models.texts_of, Source.PROVIDER, PROVIDER)
        await asyncio.to_thread(self._store.models.remove, listed, source=Source.PROVIDER)  # prices change
        await self._publish()
        known = await asyncio.to_thread(self._store.models.texts_of, Source.FOLDER, STAMP)
        self._stamps = {model_id: stamp or UNSEEN for model_id, stamp in known.items()}
        self._due = iter(list(self._stamps))
        self._opened = True

    async def _compare(self, ids: Sequence[str]) -> None:
        gone, new = await asyncio.to_thread(differences, self._stamps, ids)
        await self._drop(gone)
        fresh = iter(new)
        while chunk := list(islice(fresh, INSPECTED_AT_ONCE)):
            begun_at = self._clock.monotonic()
            await self._check(chunk)
            if len(chunk) == INSPECTED_AT_ONCE:  # many: half of the time belongs to everybody else
                await asyncio.sleep(self._clock.monotonic() - begun_at)

    def _next(self) -> list[str]:
        """The folders whose turn it is: those people look at or that have just changed, and the next of all."""
        soon = list(islice(self._soon, CHECKED_PER_LOOK))
        for model_id in soon:
            del self._soon[model_id]
        due = list(islice(self._due, CHECKED_PER_LOOK))
        if len(due) < CHECKED_PER_LOOK:
            self._swept = True
            self._due = iter(list(self._stamps))
        return [model_id for model_id in dict.fromkeys([*soon, *due]) if model_id in self._stamps]

    async def _check(self, model_ids: Sequence[str]) -> bool:
        """Looks into folders again and writes what is new; whether anything was."""
        news = await self._catalog.survey({model_id: self._stamps.get(model_id, UNSEEN) for model_id in model_ids})
        if not news:
            return False
        now = self._clock.now()
        listings = [listing_of(each.card, now, stamp=each.stamp) for each in news if each.card is not None]
        await asyncio.to_thread(self._store.models.put, listings)
        await self._drop([each.model_id for each in news if each.card is None])
        self._stamps |= {each.model_id: each.stamp for each in news}
        self._soon |= {each.model_id: None for each in news if is_doubtful(each)}
        return True

    async def _take_hub(self) -> bool:
        """Writes what the hub has been asked of late, and what has been downloaded; whether anything was new."""
        cards = [
            card
            for card in await self._catalog.hub_cards()
            if self._hub.get(card.model_id) != card and self._stamps.get(card.model_id) is None
        ]
        if not cards:
            return False
        now = self._clock.now()
        await asyncio.to_thread(self._store.models.put, [listing_of(card, now) for card in cards])
        self._hub |= {card.model_id: card for card in cards}
        return True

    async def _drop(self, model_ids: Sequence[str]) -> None:
        """Forgets local folders; what else is known of their models is written again."""
        if not model_ids:
            return
        await asyncio.to_thread(self._store.models.remove, model_ids, source=Source.FOLDER)
        for model_id in model_ids:
            self._stamps.pop(model_id, None)
            self._hub.pop(model_id, None)
        await self._publish()

    async def _publish(self) -> None:
        now = self._clock.now()
        closed = [] if self._provided is None else self._provided.listings(now)
        await asyncio.to_thread(self._store.models.publish, [*read_published(now), *closed])


def differences(known: Collection[str], there: Sequence[str]) -> tuple[list[str], list[str]]:
    """What is known and gone, and what is there and new. Pure; for a thread, since there may be very many."""
    present = set(there)
    return [each for each in known if each not in present], [each for each in there if each not in known]


def listing_of(card: ModelCard, now: datetime, **facts: str | None) -> Listing:
    """A model's row as its files describe it."""
    told = {
        "weight_bytes": card.inspection.weight_bytes,
        "dtype": card.inspection.dtype,
        "precision": card.inspection.precision,
        "max_length": card.inspection.max_length,
        "library": card.inspection.library,
        "refusal_cause": card.refusal_cause,
        "files": list(card.inspection.labels) or None,
        "quality": dict(card.inspection.quality) or None,
        "warning": card.inspection.warning,
        "adapter": describe_adapter(card.inspection.adapter),
        **facts,
    }
    return Listing(
        model_id=card.model_id,
        source=card.source,
        updated_at=now,
        task=card.task,
        memory_bytes=card.memory_bytes if card.memory_source else None,
        memory_source=card.memory_source,
        parameters=card.inspection.parameters,
        architecture=card.inspection.architecture,
        revision=card.revision,
        license=card.inspection.license,
        variant_of=find_original(card),
        refusal=card.refusal,
        facts={name: value for name, value in told.items() if value is not None},
    )


def find_original(card: ModelCard) -> str | None:
    """The model that this one was made from, or whose file it is; None where it is one of its own."""
    repository_id = repository_of(card.model_id)
    if repository_id != card.model_id:
        return repository_id
    return split_variant(card.model_id)[0] if card.inspection.runtime in (ONNX, OPENVINO) else None


def is_doubtful(surveyed: Surveyed) -> bool:
    """Whether a folder that has just changed may still be being copied."""
    return surveyed.card is None or surveyed.card.refusal is not None
