"""Pages of the catalogue, the same for every surface: which rows a request asks for, and how to go on.

Owns what a page is. Shapes are in `shapes`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from starlette.datastructures import URL
from starlette.requests import Request

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.index import Index, listing_of
from modelyard.clock import Clock
from modelyard.errors import ModelyardError, Throttled
from modelyard.gateway.shapes.models import PageQuery
from modelyard.records.files import repository_of
from modelyard.records.models import Listing, Source
from modelyard.store.models import Models

LIST_COST = 5.0
"""A page is looked for in a table of a hundred thousand rows: as long as five small reads take, or ten."""


HiddenFrom = Callable[[str], Collection[str]]


@dataclass(frozen=True, slots=True)
class Page:
    """`following`: the id to send as `after` for the next page; None on the last one. `variants`: by model id."""

    listings: Sequence[Listing]
    following: str | None = None
    variants: Mapping[str, Sequence[str]] = field(default_factory=dict)


class Listings:
    """Reads the catalogue's table, kept true by the index."""

    def __init__(
        self, index: Index, catalog: Catalog, models: Models, clock: Clock, hidden_from: HiddenFrom = lambda account: ()
    ) -> None:
        """`hidden_from`: the ids, in lower case, of models that an account may not see."""
        self._hidden_from = hidden_from
        self._index = index
        self._catalog = catalog
        self._models = models
        self._clock = clock

    async def page(self, query: PageQuery, account_id: str, *, servable: bool) -> Page:
        """The page that a query asks for, by id. `servable`: without models that have a refusal."""
        if query.after is None:
            await self._index.refresh()
        page = await asyncio.to_thread(self._read, query, self._hidden_from(account_id), servable=servable)
        self._index.shown(page.listings)
        return page

    def _read(self, query: PageQuery, hidden: Collection[str], *, servable: bool) -> Page:
        found = self._models.page(
            task=query.task,
            text=query.search,
            after=query.after,
            servable=servable,
            hidden=hidden,
            limit=query.limit + 1,
        )
        listings = found[: query.limit]
        following = listings[-1].model_id if len(found) > query.limit else None
        variants = self._models.variants(listings[0].model_id, listings[-1].model_id) if listings else {}
        return Page(listings, following, variants)

    async def one(self, model_id: str, task: str | None, account_id: str) -> Page:
        """The page with that one model, wherever it is; empty when it is nowhere, or not for the task.

        Clients ask for a model before they run it, to learn its task. An id that leads nowhere is an empty list here;
        the run that follows says what is wrong. Raises Throttled when the account has had too many looked up.
        """
        listing = await self._find(model_id, account_id)
        if listing is None or (task is not None and listing.task != task):
            return Page([])
        return Page([listing], variants=await asyncio.to_thread(self._models.variants, model_id, model_id))

    async def _find(self, model_id: str, account_id: str) -> Listing | None:
        try:
            card = await self._catalog.find(model_id, account_id)
        except Throttled:
            raise
        except ModelyardError:
            card = None
        row = await asyncio.to_thread(self._models.find, model_id)
        if card is None:
            is_shown = row is not None and row.source != Source.FOLDER
            is_hidden = repository_of(model_id).lower() in self._hidden_from(account_id)
            return row if is_shown and not is_hidden else None
        listing = listing_of(card, self._clock.now())
        return replace(listing, facts=row.facts) if row is not None and card.measured else listing


def next_link(request: Request, page: Page) -> dict[str, str]:
    """The `Link` header that leads to the next page, if there is one. Source: RFC 8288."""
    if page.following is None:
        return {}
    here = URL(path=request.url.path, query=request.url.query)
    return {"link": f'<{here.include_query_params(after=page.following)}>; rel="next"'}
