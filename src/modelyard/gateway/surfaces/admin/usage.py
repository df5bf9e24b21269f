"""The admin API's calls on usage: what accounts have used and what it costs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request

from modelyard.control.journal import Journal
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_query
from modelyard.gateway.shapes.admin_usage import UsedLine, UsedQuery, UsedRow
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.records.audit import Actor

USED_COST = 50.0
"""Every instance of the period, of all accounts, is summed up."""

USED_CALLS = (
    describe(
        "GET",
        "/usage",
        "Read what accounts have used and what it costs, by account, day (UTC) and model",
        Answer[Sequence[UsedRow]],
        query=UsedQuery,
        cost=USED_COST,
    ),
    describe(
        "GET",
        "/usage/instances",
        "Read the same, each instance with its interval",
        Answer[Sequence[UsedLine]],
        query=UsedQuery,
        cost=USED_COST,
    ),
)


class UsedCalls:
    """Handlers over the ledger of all accounts."""

    def __init__(self, gate: Gate, journal: Journal) -> None:
        self._gate = gate
        self._journal = journal

    def operations(self) -> Sequence[Operation]:
        """What can be read."""
        handlers = (self.list_rows, self.list_lines)
        return [self._gate.serve(*each) for each in zip(USED_CALLS, handlers, strict=True)]

    async def list_rows(self, request: Request, actor: Actor) -> Answer[Sequence[UsedRow]]:
        """By account, day and model."""
        query = read_query(request, UsedQuery)
        await self._journal.flush_for_reader()
        read = self._gate.administration(actor).list_usage
        found = await asyncio.to_thread(read, query.account, query.since, query.until)
        return Answer(output=[UsedRow(**row._asdict()) for row in found])

    async def list_lines(self, request: Request, actor: Actor) -> Answer[Sequence[UsedLine]]:
        """By instance."""
        query = read_query(request, UsedQuery)
        await self._journal.flush_for_reader()
        read = self._gate.administration(actor).list_used_lines
        found = await asyncio.to_thread(read, query.account, query.since, query.until)
        return Answer(output=[UsedLine(**line._asdict()) for line in found])
