"""`GET /v1/models` and `/v1/models/{org}/{model}`: the catalogue's models that can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from modelyard.errors import UnknownModel
from modelyard.gateway.listing import LIST_COST, Listings
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_query
from modelyard.gateway.requests import model_name_of
from modelyard.gateway.shapes.models import PageQuery
from modelyard.gateway.shapes.openai.base import OpenAIError
from modelyard.gateway.shapes.openai.models import (
    OpenAIModel,
    OpenAIModels,
    OpenAIModelsQuery,
    show_model,
    show_models,
)
from modelyard.gateway.surfaces.openai.inference import FAILURES, ROOTS
from modelyard.http.exchange import JSON
from modelyard.records.accounts import Key
from modelyard.records.models import check_model_id


class OpenAIModelCalls:
    """Handlers over one catalogue."""

    def __init__(self, listings: Listings) -> None:
        self._listings = listings

    def operations(self) -> Iterator[Operation]:
        """List, and retrieve, at either of the paths."""
        common: dict[str, Any] = {"tag": "openai", "error": OpenAIError, "failures": FAILURES}
        for root in ROOTS:
            yield Operation(
                path=f"{root}/models",
                summary="List the models that can be asked, by name, as OpenAI's API does",
                handler=self.list,
                query=OpenAIModelsQuery,
                cost=LIST_COST,
                answer=OpenAIModels,
                **common,
            )
            for path, summary, handler in (
                ("{org}/{model}", "Describe one of them", self.retrieve),
                ("{alias}", "Describe the model that an alias of yours stands for", self.retrieve_alias),
            ):
                yield Operation(
                    path=f"{root}/models/{path}", summary=summary, handler=handler, answer=OpenAIModel, **common
                )

    async def list(self, request: Request, key: Key) -> Response:
        """The first of them, or those that follow one."""
        query = read_query(request, OpenAIModelsQuery)
        after = query.after or query.after_id
        wanted = PageQuery(task=query.task, search=query.search, limit=query.limit, after=after)
        page = await self._listings.page(wanted, key.account_id, servable=True)
        payload = await asyncio.to_thread(
            lambda: msgspec.json.encode(show_models(page.listings, page.aliases, page.following))
        )
        return Response(payload, media_type=JSON)

    async def retrieve(self, request: Request, key: Key) -> OpenAIModel:
        """One of them. Raises UnknownModel, InvalidRequest."""
        return await self._describe(check_model_id(model_name_of(request)), key)

    async def retrieve_alias(self, request: Request, key: Key) -> OpenAIModel:
        """An alias whose name has no slash. Raises UnknownModel."""
        return await self._describe(request.path_params["alias"], key)

    async def _describe(self, name: str, key: Key) -> OpenAIModel:
        page = await self._listings.one(name, None, key.account_id)
        if not page.listings:
            raise UnknownModel(f"There is no model {name}. GET /v1/models lists those that there are.")
        return show_model(page.listings[0], page.aliases.get(name))
