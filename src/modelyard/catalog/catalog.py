"""The catalog: one place to ask which models exist, what each one is, and where its files are.

Owns the order of the sources (local folders win over the hub) and what a person is told when a model is not there.
File and network work happens in threads; nothing here blocks the event loop for longer than a few `stat` calls.
"""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from modelyard import __version__
from modelyard.catalog.access import OPEN, Access
from modelyard.catalog.adapters import join, refuse_base
from modelyard.catalog.cards import apply_measurement, make_card
from modelyard.catalog.folders import Folders
from modelyard.catalog.forms import as_form_of, check_installed
from modelyard.catalog.found import Found
from modelyard.catalog.hub import Hub
from modelyard.catalog.library import transformers_version
from modelyard.catalog.lookups import LookupBudget
from modelyard.catalog.nearest import nearest_names
from modelyard.catalog.optional_parts import PARTS
from modelyard.catalog.space import Space
from modelyard.clock import SystemClock
from modelyard.config import ASK, CONTEXT_TOKENS, Settings
from modelyard.errors import DownloadFailed, InvalidRequest, ModelRefused, UnknownModel
from modelyard.records.files import split_file
from modelyard.records.models import Measurement, ModelCard, OnProgress, Source, check_model_id
from modelyard.records.runtimes import MEASURED, Runtimes, read_runtimes
from modelyard.records.variants import VARIANTS_FOLDER, split_variant

T = TypeVar("T")

FOLDER_THREADS = 2
"""That look into folders: one for the survey, one for whoever asks for a model. They are the catalog's own, so that
folders on a disk that does not answer keep nobody from the threads that authentication and control use."""

NOBODY = ""
"""The id of no account: who may see what everybody may."""
NO_BASE = "and there is no such model here"

Learned = Callable[[Sequence[str]], Mapping[str, Measurement]]
"""Model ids → what was measured of those that have been measured. Called on every lookup, on the event loop: it must
answer from memory or by one indexed read."""


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What became of one local folder. `card` and `stamp` None: it is gone, or empty."""

    model_id: str
    stamp: str | None
    card: ModelCard | None


class Catalog:
    """Every model that this server can run. One per process; all methods belong to its event loop."""

    def __init__(
        self,
        folders: Folders,
        hub: Hub | None = None,
        learned: Learned = lambda ids: {},
        allow_unsafe: frozenset[str] = frozenset(),
        guesses: LookupBudget | None = None,
        access: Access = OPEN,
        context_tokens: int = CONTEXT_TOKENS,
        bf16: frozenset[str] = frozenset(),
        pickles: str = ASK,
        runtimes: Runtimes = MEASURED,
    ) -> None:
        """`hub` None: only local folders. `allow_unsafe`: ids whose pickles and own code the operator accepts.
        `guesses`: how often an account is told what it may have meant; None: always. `access`: who may see private
        and gated models of the hub, and what was made of them. `context_tokens`, `bf16`, `pickles`, `runtimes`: as the
        settings say."""
        self._folders = folders
        self._hub = hub
        self._learned = learned
        self._allow_unsafe = allow_unsafe
        self._guesses = guesses
        self._access = access
        self._context_tokens = context_tokens
        self._bf16 = bf16
        self._bases: dict[str, str] = {}
        self._pickles = pickles
        self._runtimes = runtimes
        self._threads = ThreadPoolExecutor(FOLDER_THREADS, thread_name_prefix="folders")
        libraries = [part.extra for part in PARTS if part.is_installed]
        self._readers = f"modelyard {__version__}, transformers {transformers_version()}, {libraries}"

    async def find(self, model_id: str, account_id: str | None = None) -> ModelCard | None:
        """The model's card, or None when no source has it. A model that must not be served has a `refusal`.

        A local folder that is known costs one directory scan, done at once; a new one is inspected in a thread; the
        hub is asked only for what no folder holds, on the account's budget of lookups. Raises InvalidRequest for an
        ill-formed id, ModelRefused for a gated repository, DownloadFailed when the hub cannot be asked, Throttled when
        it was asked too often.
        """
        check_model_id(model_id)
        found = await self._find(model_id, account_id)
        if found is None:
            return None
        (card,) = self._cards_of([found])
        return await self.with_base(card, account_id)

    async def _find(self, model_id: str, account_id: str | None) -> Found | None:
        found = self._folders.find_known(model_id) or await self._in_thread(self._folders.find, model_id)
        if found is not None and not self._may_see_folder(account_id, model_id):
            found = None
        if found is None and self._hub is not None:
            found = await self._hub.find(model_id, account_id)
        return found

    async def with_base(self, card: ModelCard, account_id: str | None = None) -> ModelCard:
        """An adapter's card with its base, as far as the account may have that; another model's as it is. Raises what
        looking for the base raises and another try may mend."""
        adapter = card.inspection.adapter
        if adapter is None or card.refusal is not None:
            return card
        try:
            found = await self._find(adapter.base_id, account_id)
        except ModelRefused as error:
            return refuse_base(card, f"which cannot be had: {error.message.rstrip('.')}")
        if found is None:
            return refuse_base(card, NO_BASE)
        return join(card, self._cards_of([found])[0])

    def form_of(self, card: ModelCard) -> ModelCard:
        """What a replica of the model loads: the form that was measured to be best, or the operator wants, under the
        model's own name. Called on the event loop: takes a directory scan or two, and only where there is another."""
        measurement = self._learned([card.model_id]).get(card.model_id)
        variant = self._runtimes.variant_of(card.model_id, measurement)
        found = None if variant is None else self._folders.find_known(f"{card.model_id}.{variant}")
        form = card if found is None else as_form_of(card, self._cards_of([found])[0])
        threads = self._runtimes.threads_of(card.model_id, measurement)
        return form if threads is None else replace(form, max_threads=threads)

    def may_use(self, account_id: str, card: ModelCard) -> bool:
        """Whether a model is one that the account may see, and its base if it is an adapter. Answers from memory."""
        if card.base is not None and not self.may_use(account_id, card.base):
            return False
        if card.source is Source.FOLDER:
            return self._may_see_folder(account_id, card.model_id)
        return self._access.may_use(account_id, card.model_id)

    def _may_see_folder(self, account_id: str | None, model_id: str) -> bool:
        """Folders are for everybody, but for variants of a model that is not."""
        return self._access.may_use(account_id, model_id) or split_variant(model_id)[1] is None

    async def get(self, model_id: str, account_id: str | None = None) -> ModelCard:
        """The model's card. Raises UnknownModel, whose data has the nearest names and whose detail says where was
        looked, and what `find` raises.

        DownloadFailed only for a model that this server has met before: then it is known to be there.
        """
        unasked, why = "", ""
        try:
            card = await self.find(model_id, account_id)
        except DownloadFailed as error:
            if self._hub is not None and model_id in self._hub.known_ids(account_id):
                raise
            # Never heard of, and nobody to ask: for this server there is no such model, and a guess helps more.
            card, unasked, why = None, f" {error.message}", f"{error.detail} "
        if card is None:
            base_id, kind = split_variant(model_id)
            base = await self.find(base_id, account_id) if kind is not None else None
            if base is not None and base.inspection.quantisation is None:
                raise UnknownModel(
                    f"{model_id} has not been made yet.",
                    cause="variant",
                    model=model_id,
                    nearest=[base_id],
                )
            repository_id, label = split_file(model_id)
            if label is not None and (repository := await self.find(repository_id, account_id)) is not None:
                raise no_such_file(repository, label)
            guess, near = await self._guess(model_id, account_id)
            raise UnknownModel(
                f"There is no model {model_id} here{unasked}.{guess}",
                model=model_id,
                detail=f"{why}Looked in {self._places()}.",
                nearest=near,
            )
        return card

    async def list(self, task: str | None = None, model_id: str | None = None) -> builtins.list[ModelCard]:
        """The cards of local folders, of complete downloads and of hub models looked up of late, by id.

        `model_id` narrows to that one model, wherever it is. The list is empty when it is nowhere, cannot be asked
        for, or is no model id at all: a list never fails.
        """
        if model_id is None:
            local = await self._in_thread(self._folders.list)
            remote = await self._hub.list() if self._hub else []
            merged = {found.model_id: found for found in [*remote, *local]}
            cards = self._known_cards_of([merged[name] for name in sorted(merged)])
        else:
            cards = await self._list_one(model_id)
        return [card for card in cards if task is None or card.task == task]

    async def folder_ids(self) -> Sequence[str]:
        """The ids of local folders, sorted; the very same object while none came or went."""
        return await self._in_thread(self._folders.ids)

    async def survey(self, stamps: Mapping[str, str | None]) -> builtins.list[Surveyed]:
        """Looks at local folders again: those for which there is news since they were stamped.

        `stamps`: model id → the stamp of the last survey. A stamp also changes with the programs that read the files,
        and with the operator's consent.
        """
        news = await self._in_thread(self._changed, stamps)
        cards = iter(self._known_cards_of([found for _, _, found in news if found]))
        return [Surveyed(model_id, stamp, next(cards) if found else None) for model_id, stamp, found in news]

    async def hub_cards(self) -> builtins.list[ModelCard]:
        """The cards of complete downloads and of hub models looked up of late, in no order."""
        return self._known_cards_of(await self._hub.list()) if self._hub else []

    async def ensure_files(
        self, card: ModelCard, on_progress: OnProgress | None = None, account_id: str | None = None
    ) -> Path:
        """The folder with the model's own files; a hub model is downloaded first, with progress reports.

        `account_id`: for whom it is downloaded; None: for the server itself. Cancelling stops waiting; the download
        stops when nobody waits for it any more. Raises ModelRefused, DownloadFailed, QuotaExceeded.
        """
        card.check_served()
        if card.source is Source.FOLDER and card.path is not None:
            return card.path
        if self._hub is None:
            raise DownloadFailed(f"{card.model_id} is on the hub, which this server was told not to use.")
        return await self._hub.fetch(card.model_id, card.revision, on_progress, account_id)

    async def aclose(self) -> None:
        """Stops downloads and lookups under way."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._hub is not None:
            await self._hub.aclose()

    async def _in_thread(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)

    def _cards_of(self, models: Sequence[Found]) -> builtins.list[ModelCard]:
        measured = self._learned([found.model_id for found in models])
        cards = (
            make_card(found, self._allow_unsafe, self._context_tokens, self._bf16, self._pickles) for found in models
        )
        return [apply_measurement(card, measured.get(card.model_id)) for card in cards]

    def _known_cards_of(self, models: Sequence[Found]) -> builtins.list[ModelCard]:
        """The same for lists: with the bases of adapters as far as they are known, so that nobody is asked."""
        there = {found.model_id: found for found in models}
        return [self._joined(card, there) for card in self._cards_of(models)]

    def _joined(self, card: ModelCard, there: Mapping[str, Found]) -> ModelCard:
        adapter = card.inspection.adapter
        if adapter is None or card.refusal is not None:
            return card
        self._bases[card.model_id] = adapter.base_id
        base = self._folders.find_known(adapter.base_id) or there.get(adapter.base_id) or self._known(adapter.base_id)
        if base is None and self._hub is None:
            return refuse_base(card, NO_BASE)
        is_open = base is not None and self._access.may_use(NOBODY, base.model_id)
        return join(card, self._cards_of([base])[0] if base and is_open else None)

    def _known(self, model_id: str) -> Found | None:
        return self._hub.find_known(model_id) if self._hub else None

    def _changed(self, stamps: Mapping[str, str | None]) -> builtins.list[tuple[str, str | None, Found | None]]:
        """(model id, its new stamp, what it is now) of the folders whose stamp is another one."""
        changed = []
        for model_id, known in stamps.items():
            stamp = self._stamp(model_id)
            if stamp != known:
                found = self._folders.find(model_id) if stamp else None
                if found and (adapter := found.inspection.adapter) and not found.inspection.problem:
                    self._folders.find(adapter.base_id)  # known from now on, for whoever joins the two
                changed.append((model_id, stamp if found else None, found))
        return changed

    def _stamp(self, model_id: str) -> str | None:
        stamp = self._folders.stamp(model_id)
        if stamp is None:
            return None
        allowed = " allowed" if model_id in self._allow_unsafe else ""
        base_id = self._bases.get(model_id)
        base = f" {self._folders.stamp(base_id) or self._known(base_id) is not None}" if base_id else ""
        precision = " bf16" if model_id in self._bf16 else ""
        pickles = "" if self._pickles == ASK else f" pickles {self._pickles}"
        return f"{stamp} {self._readers}{allowed}{base}{precision}{pickles}"

    async def _list_one(self, model_id: str) -> builtins.list[ModelCard]:
        try:
            card = await self.find(model_id)
        except (InvalidRequest, DownloadFailed):
            return []
        return [card] if card else []

    async def _guess(self, model_id: str, account_id: str | None) -> tuple[str, builtins.list[str]]:
        """What else may have been meant: as the end of a sentence, and as names. Nothing for who asks too often:
        every name there is has to be looked at."""
        if self._guesses is not None and not self._guesses.may_take(account_id):
            return "", []
        near = await self._in_thread(lambda: nearest_names(model_id, self._known_ids(account_id)))
        return (f" Did you mean {' or '.join(near)}?" if near else ""), near

    def _known_ids(self, account_id: str | None) -> set[str]:
        local = (each for each in self._folders.ids() if self._may_see_folder(account_id, each))
        return {*local, *(self._hub.known_ids(account_id) if self._hub else ())}

    def _places(self) -> str:
        places = [str(root) if root.is_dir() else f"{root} (no such directory)" for root in self._folders.roots]
        if self._hub:
            places.append(str(self._hub))
        return ", ".join(places) or "no place: none is configured"


def no_such_file(repository: ModelCard, label: str) -> UnknownModel:
    """For a model that is there, but not as a file of that label."""
    labels = repository.inspection.labels
    there = f"there are {', '.join(labels)}" if labels else "it is one model, without labels"
    return UnknownModel(
        f"{repository.model_id} has no file {label}; {there}.",
        model=f"{repository.model_id}:{label}",
        nearest=[f"{repository.model_id}:{each}" for each in labels] or [repository.model_id],
    )


def open_catalog(
    settings: Settings, learned: Learned = lambda ids: {}, access: Access = OPEN, space: Space | None = None
) -> Catalog:
    """The catalog these settings describe; close it with `aclose`. `space`: as `Hub` has it."""
    variants = settings.data_dir / VARIANTS_FOLDER
    return Catalog(
        Folders([*settings.models_dir, *([variants] if variants.is_dir() else [])]),
        Hub(lookups_per_minute=settings.lookups_per_minute, access=access, space=space) if settings.hub else None,
        learned=learned,
        allow_unsafe=frozenset(settings.allow_unsafe),
        guesses=LookupBudget(settings.lookups_per_minute, SystemClock()),
        access=access,
        context_tokens=settings.context_tokens,
        bf16=frozenset(settings.bf16),
        pickles=settings.pickles,
        runtimes=check_installed(read_runtimes(settings.runtime)),
    )
