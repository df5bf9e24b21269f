"""Pages of the catalogue, the same for every surface: which rows a request asks for, and how to go on.

Owns the names and bounds of the query. Shapes are the surfaces' own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.datastructures import URL
from starlette.requests import Request

from modelyard.catalog.index import listing_of
from modelyard.errors import ModelyardError
from modelyard.gateway.requests import whole_query
from modelyard.records.models import Listing, Source
from modelyard.serving import Services
from modelyard.store.models import PUBLISHED

DEFAULT_LIMIT = 250
"""As many as are read, shaped and sent within 20 ms; `benchmarks/catalogue.py` measures it."""
MAX_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Page:
    """`following`: the id to send as `after` for the next page; None on the last one. `variants`: by model id."""

    listings: Sequence[Listing]
    following: str | None = None
    variants: Mapping[str, Sequence[str]] = field(default_factory=dict)


async def read_page(services: Services, request: Request, *, servable: bool) -> Page:
    """The page that `?task=`, `?search=` (a part of the id), `?limit=` and `?after=` (an id) ask for, by id.

    `servable`: without models that have a refusal. Raises InvalidRequest.
    """
    limit = whole_query(request, "limit", DEFAULT_LIMIT, MAX_LIMIT, minimum=1)
    after = request.query_params.get("after")
    if after is None:
        await services.index.refresh()
    page = await asyncio.to_thread(
        _read,
        services,
        limit,
        task=request.query_params.get("task"),
        text=request.query_params.get("search"),
        after=after,
        servable=servable,
    )
    services.index.shown(page.listings)
    return page


def _read(
    services: Services, limit: int, *, task: str | None, text: str | None, after: str | None, servable: bool
) -> Page:
    models = services.store.models
    found = models.page(task=task, text=text, after=after, servable=servable, limit=limit + 1)
    listings = found[:limit]
    following = listings[-1].model_id if len(found) > limit else None
    variants = models.variants(listings[0].model_id, listings[-1].model_id) if listings else {}
    return Page(listings, following, variants)


async def read_one(services: Services, model_id: str, task: str | None) -> Page:
    """The page with that one model, wherever it is; empty when it is nowhere, or not for the task.

    Clients ask for a model before they run it, to learn its task. An id that leads nowhere is an empty list here; the
    run that follows says what is wrong.
    """
    try:
        card = await services.catalog.find(model_id)
    except ModelyardError:
        card = None
    row = await asyncio.to_thread(services.store.models.find, model_id)
    if card is not None:
        listing = listing_of(card, services.clock.now())
        if row is not None and card.measured:
            listing = replace(listing, facts=row.facts)
    elif row is not None and row.source != Source.FOLDER:
        listing = row
    else:
        return Page([])
    if task is not None and listing.task != task:
        return Page([])
    return Page([listing], variants=await asyncio.to_thread(services.store.models.variants, model_id, model_id))


def next_link(request: Request, page: Page) -> dict[str, str]:
    """The `Link` header that leads to the next page, if there is one. Source: RFC 8288."""
    if page.following is None:
        return {}
    here = URL(path=request.url.path, query=request.url.query)
    return {"link": f'<{here.include_query_params(after=page.following)}>; rel="next"'}


def is_benchmarked(listing: Listing) -> bool:
    """Whether somebody has benchmarked the model: this server, or the one that published its memory."""
    return listing.memory_source == PUBLISHED or "benchmark" in listing.facts


def benchmark_of(listing: Listing) -> dict[str, Any] | None:
    """What this server's benchmark found, None where there was none. Seconds; latencies by size of request."""
    found = listing.facts.get("benchmark")
    if found is None:
        return None
    return {
        "loadTime": found["load_s"],
        "latency": {name: milliseconds / 1000 for name, milliseconds in found["latency_ms"].items()},
        "largest": found["largest"],
        "requestsPerSecond": found["requests_per_s"],
        "requestsPerSecondBatched": found["requests_per_s_at_knee"],
        "batch": found["knee"],
        "tokensPerSecond": found["tokens_per_s"],
        "firstToken": None if found["first_token_ms"] is None else found["first_token_ms"] / 1000,
        "streams": found["streams"],
        "notes": found["notes"],
    }
