"""Pages of the catalogue, the same for every surface: which rows a request asks for, and how to go on.

Owns what a page is. Shapes are in `shapes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from starlette.datastructures import URL
from starlette.requests import Request

from modelyard.accounts.aliases import Aliases
from modelyard.catalog.cards import check_task
from modelyard.catalog.catalog import Catalog
from modelyard.catalog.index import Index, listing_of
from modelyard.clock import Clock
from modelyard.errors import ModelyardError, Throttled
from modelyard.gateway.shapes.models import PageQuery
from modelyard.records.aliases import Alias
from modelyard.records.files import repository_of, spell
from modelyard.records.models import LIBRARIES, Listing, Source
from modelyard.records.variants import split_variant
from modelyard.store.models import REQUESTED, Models
from modelyard.units import GIB

LIST_COST = 5.0
"""A page is looked for in a table of a hundred thousand rows: as long as five small reads take, or ten."""


HiddenFrom = Callable[[str], Collection[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """`following`: the id to send as `after` for the next page; None on the last one. `variants`: by model id.
    `aliases`: which of the listings are aliases, each with the id of its model."""

    listings: Sequence[Listing]
    following: str | None = None
    variants: Mapping[str, Sequence[str]] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)


class Listings:
    """Reads the catalogue's table, kept true by the index."""

    def __init__(
        self,
        index: Index,
        catalog: Catalog,
        models: Models,
        clock: Clock,
        aliases: Aliases,
        hidden_from: HiddenFrom = lambda account: (),
    ) -> None:
        """`hidden_from`: the ids, in lower case, of models that an account may not see."""
        self._aliases = aliases
        self._hidden_from = hidden_from
        self._index = index
        self._catalog = catalog
        self._models = models
        self._clock = clock

    async def page(self, query: PageQuery, account_id: str, *, servable: bool) -> Page:
        """The page that a query asks for, by id. `servable`: without models that have a refusal. Raises InvalidRequest
        for a task that does not exist."""
        check_task(query.task)
        if query.after is None:
            await self._index.refresh()
        aliases, hidden = self._aliases.of(account_id), self._hidden_from(account_id)
        page = await asyncio.to_thread(self._read, query, aliases, hidden, servable=servable)
        self._index.shown([each for each in page.listings if each.model_id not in page.aliases])
        return page

    def _read(self, query: PageQuery, aliases: Sequence[Alias], hidden: Collection[str], *, servable: bool) -> Page:
        found = self._models.page(
            task=query.task,
            text=query.search,
            here=query.here,
            license=query.license,
            libraries=None if query.runtime is None else LIBRARIES[query.runtime],
            most_bytes=None if query.max_ram is None else round(query.max_ram * GIB),
            after=query.after,
            servable=servable,
            hidden=hidden,
            limit=query.limit + 1,
        )
        named = self._listings_of(select_aliases(aliases, query, hidden)) if aliases else {}
        if named:
            shown = [each for each in named.values() if is_asked_for(each, query, servable=servable)]
            others = (each for each in found if each.model_id not in named)
            found = sorted([*others, *shown], key=lambda each: each.model_id)[: query.limit + 1]
        listings = found[: query.limit]
        following = listings[-1].model_id if len(found) > query.limit else None
        variants = self._models.variants(listings[0].model_id, listings[-1].model_id) if listings else {}
        targets = {alias.name: alias.model_id for alias in aliases if alias.name in named}
        return Page(listings, following, variants, targets)

    def _listings_of(self, aliases: Sequence[Alias]) -> Mapping[str, Listing]:
        """Aliases by their names, as the catalogue lists their models; what it does not know of one is left open."""
        known = self._models.get_many({alias.model_id for alias in aliases}) if aliases else {}
        return {alias.name: listing_of_alias(alias, known.get(alias.model_id)) for alias in aliases}

    async def one(self, model_id: str, task: str | None, account_id: str) -> Page:
        """The page with that one model, wherever it is; empty when it is nowhere, or not for the task.

        Clients ask for a model before they run it, to learn its task. An id that leads nowhere is an empty list here;
        the run that follows says what is wrong. Raises InvalidRequest for a task that does not exist, Throttled when
        the account has had too many looked up.
        """
        check_task(task)
        alias = self._aliases.find(account_id, model_id)
        model_id = spell(model_id) if alias is None else alias.model_id
        listing = await self._find(model_id, account_id)
        if listing is None or (task is not None and listing.task != task):
            return Page([])
        if alias is not None:
            return Page([listing_of_alias(alias, listing)], aliases={alias.name: model_id})
        return Page([listing], variants=await asyncio.to_thread(self._models.variants, model_id, model_id))

    async def _find(self, model_id: str, account_id: str) -> Listing | None:
        row = await asyncio.to_thread(self._models.find, model_id)
        if row is not None and row.source == Source.PROVIDER:
            return row
        try:
            card = await self._catalog.find(model_id, account_id)
        except Throttled:
            raise
        except ModelyardError:
            card = None
        if card is None:
            is_shown = row is not None and row.source != Source.FOLDER
            is_hidden = repository_of(model_id).lower() in self._hidden_from(account_id)
            return row if is_shown and not is_hidden else None
        listing = listing_of(card, self._clock.now())
        return replace(listing, facts=row.facts) if row is not None and card.measured else listing


def select_aliases(aliases: Sequence[Alias], query: PageQuery, hidden: Collection[str]) -> Sequence[Alias]:
    """Those whose names the page that is asked for may have, and whose models the account may see."""
    text = (query.search or "").lower()
    return [
        alias
        for alias in aliases
        if (query.after is None or alias.name > query.after)
        and text in alias.name.lower()
        and repository_of(alias.model_id).lower() not in hidden
        and repository_of(split_variant(alias.model_id)[0]).lower() not in hidden
    ]


def is_asked_for(listing: Listing, query: PageQuery, *, servable: bool) -> bool:
    """Whether a list that is narrowed so has this alias."""
    memory_bytes, library = listing.memory_bytes, listing.facts.get("library")
    return (
        query.here is not False
        and (query.task is None or listing.task == query.task)
        and (query.license is None or listing.license == query.license)
        and (query.runtime is None or library in LIBRARIES[query.runtime])
        and (query.max_ram is None or (memory_bytes is not None and memory_bytes <= query.max_ram * GIB))
        and not (servable and listing.refusal is not None)
    )


def listing_of_alias(alias: Alias, known: Listing | None) -> Listing:
    """An alias as a model of its name. `known`: what the catalogue knows of its model."""
    if known is None:
        return Listing(alias.name, REQUESTED, alias.modified_at, task=alias.task)
    return replace(known, model_id=alias.name)


def next_link(request: Request, page: Page) -> dict[str, str]:
    """The `Link` header that leads to the next page, if there is one. Source: RFC 8288."""
    if page.following is None:
        return {}
    here = URL(path=request.url.path, query=request.url.query)
    return {"link": f'<{here.include_query_params(after=page.following)}>; rel="next"'}
