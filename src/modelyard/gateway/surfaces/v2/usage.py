"""v2's calls on usage: what an account has used and what it costs, and the same of one request."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from starlette.requests import Request

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.accounts.usage import read_period, read_usage
from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.errors import NotFound
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_query
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.shapes.usage import (
    KeyUsage,
    PeriodQuery,
    RequestUsage,
    Usage,
    UsageQuery,
    show_key_usage,
    show_request,
    show_usage,
)
from modelyard.records.accounts import Key
from modelyard.store.store import Store

USAGE_COST = 10.0
"""A period is summed up from every instance in it: as long as ten small reads take with some hundreds of them."""


class UsageCalls:
    """Handlers over the ledger."""

    def __init__(
        self, store: Store, journal: Journal, aliases: Aliases, funds: Funds, clock: Clock, *, price_per_gb_s: float
    ) -> None:
        """`clock`: the one that the ledger goes by. `price_per_gb_s`: US dollars, today."""
        self._store = store
        self._journal = journal
        self._aliases = aliases
        self._funds = funds
        self._clock = clock
        self._price_per_gb_s = price_per_gb_s

    def operations(self) -> Sequence[Operation]:
        """What can be read."""
        return [
            Operation(
                path="/models/v2/usage",
                summary="Read what your account has used, and what it costs",
                tag="usage",
                handler=self.get,
                query=UsageQuery,
                cost=USAGE_COST,
                answer=Answer[Usage],
            ),
            Operation(
                path="/models/v2/usage/keys",
                summary="Read which of your keys the requests came with",
                tag="usage",
                handler=self.list_keys,
                query=PeriodQuery,
                cost=USAGE_COST,
                answer=Answer[Sequence[KeyUsage]],
            ),
            Operation(
                path="/models/v2/usage/{request_id}",
                summary="Read what one request took and cost",
                tag="usage",
                handler=self.get_request,
                answer=Answer[RequestUsage],
            ),
        ]

    async def get(self, request: Request, key: Key) -> Answer[Usage]:
        """What the account has used in a period, and what it costs."""
        query = read_query(request, UsageQuery)
        now = self._clock.now()
        since, until, model_id = self._read_period(query, key, now)
        await self._journal.flush_for_reader()
        usage = await asyncio.to_thread(
            read_usage, self._store, key.account_id, since, until, model_id=model_id, now=now
        )
        return Answer(output=show_usage(usage, query, self._funds.find(key.account_id)))

    async def list_keys(self, request: Request, key: Key) -> Answer[Sequence[KeyUsage]]:
        """What came with each of the account's keys."""
        query = read_query(request, PeriodQuery)
        since, until, model_id = self._read_period(query, key, self._clock.now())
        await self._journal.flush_for_reader()

        def read() -> Sequence[KeyUsage]:
            keys = {each.id: each for each in self._store.keys.list(key.account_id)}
            found = self._store.requests.totals_by_key(key.account_id, model_id, since, until)
            return [show_key_usage(each, keys.get(each.key_id or "")) for each in found]

        return Answer(output=await asyncio.to_thread(read))

    def _read_period(self, query: PeriodQuery, key: Key, now: datetime) -> tuple[datetime, datetime, str | None]:
        """Since when, until when, and of which model; None: of all. Raises InvalidRequest."""
        model_id = None if query.model_id is None else self._aliases.model_of(key.account_id, query.model_id)
        return *read_period(query.since, query.until, now), model_id

    async def get_request(self, request: Request, key: Key) -> Answer[RequestUsage]:
        """What one request of the account took and cost."""
        request_id = request.path_params["request_id"]
        await self._journal.flush_for_reader()
        record = await asyncio.to_thread(self._store.requests.find, request_id)
        if record is None or record.account_id != key.account_id or record.settled_at is None:
            raise NotFound(
                f"No finished request of your account has the id {request_id}. It is in the header x-request-id of an "
                "inference that reached an instance."
            )
        return Answer(output=show_request(record, self._price_per_gb_s))
