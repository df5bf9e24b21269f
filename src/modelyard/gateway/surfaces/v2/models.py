"""v2's lists of models and tasks. Owns no row: the catalogue's table is read through `Listings`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from modelyard.gateway.listing import LIST_COST, Listings, Page, next_link
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_query
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.shapes.models import ModelsAnswer, ModelsQuery, show_model
from modelyard.gateway.shapes.tasks import TaskDescription, show_task
from modelyard.gateway.surfaces.every import INFERENCES
from modelyard.http.exchange import JSON
from modelyard.records.accounts import Key
from modelyard.tasks.registry import TASKS, get_task


class ModelCalls:
    """Handlers over one catalogue."""

    def __init__(self, listings: Listings, *, price_per_gb_s: float) -> None:
        """`price_per_gb_s`: US dollars for a GB of memory and a second."""
        self._listings = listings
        self._price_per_gb_s = price_per_gb_s

    def operations(self) -> Sequence[Operation]:
        """What can be listed."""
        return [
            Operation(
                path="/models/v2/list/models",
                summary="List models by id, in pages; a Link header leads to the next",
                tag="lists",
                handler=self.list,
                query=ModelsQuery,
                cost=LIST_COST,
                answer=ModelsAnswer,
            ),
            Operation(
                path="/models/v2/list/tasks",
                summary="List tasks",
                tag="lists",
                handler=self.list_tasks,
                answer=Answer[Sequence[str]],
            ),
            Operation(
                path="/models/v2/list/tasks/{task}",
                summary="Describe a task: JSON schemas, an example, and the fields of a form for it",
                tag="lists",
                handler=self.describe_task,
                answer=Answer[TaskDescription],
            ),
        ]

    async def list(self, request: Request, key: Key) -> Response:
        """The catalogue in pages; or the one model of `modelId`."""
        query = read_query(request, ModelsQuery)
        if query.model_id is None:
            page = await self._listings.page(query, key.account_id, servable=False)
        else:
            page = await self._listings.one(query.model_id, query.task, key.account_id)
        payload = await asyncio.to_thread(self._encode, page)
        return Response(payload, headers=next_link(request, page), media_type=JSON)

    def _encode(self, page: Page) -> bytes:
        """A page in the envelope. May be long: for a thread."""
        shown = [
            show_model(
                each, page.variants.get(each.model_id, ()), self._price_per_gb_s, page.aliases.get(each.model_id)
            )
            for each in page.listings
        ]
        return msgspec.json.encode(ModelsAnswer(output=shown, next=UNSET if page.following is None else page.following))

    async def list_tasks(self, request: Request, key: Key) -> Answer[Sequence[str]]:
        """The names of the tasks this server can run."""
        return Answer(output=[task.id for task in TASKS])

    async def describe_task(self, request: Request, key: Key) -> Answer[TaskDescription]:
        """One task: its inputs, params and output as JSON schemas, and an example; what a form and an answer of it
        need."""
        task = get_task(request.path_params["task"])
        return Answer(output=show_task(task, [each.path for each in INFERENCES if task.id in each.tasks]))
