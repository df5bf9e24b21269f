"""The admin API's calls on aliases: set, list, remove."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.administration import ListedAlias
from modelyard.accounts.aliases import Aliases
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.shapes.admin import Alias, AliasBody, AliasQuery, Listed, OwnedQuery, show_alias
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.surfaces.admin.accounts import LIST_COST
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.gateway.surfaces.admin.pages import answer_page
from modelyard.records.audit import Actor
from modelyard.records.clusters import Changes

PATH = "/aliases"


LIST = describe(
    "GET", PATH, "List aliases, by account and name, in pages", Listed[Alias], query=OwnedQuery, cost=LIST_COST
)
SET = describe("PUT", PATH, "Have a name stand for a model, whatever it stood for", Answer[Alias], body=AliasBody)
REMOVE = describe("DELETE", PATH, "Remove an alias; the clusters it has made stay", Answer[str], query=AliasQuery)
ALIAS_CALLS = (LIST, SET, REMOVE)


class AliasCalls:
    """Handlers over the rules about aliases."""

    def __init__(self, gate: Gate, aliases: Aliases) -> None:
        """`aliases`: the copy that requests ask, which follows a change at once."""
        self._gate = gate
        self._aliases = aliases

    def operations(self) -> Sequence[Operation]:
        """What can be done with aliases."""
        handlers = (self.list, self.set, self.remove)
        return [self._gate.serve(*each) for each in zip(ALIAS_CALLS, handlers, strict=True)]

    async def list(self, request: Request, actor: Actor) -> Response:
        """The aliases of one account or of all."""
        query = read_query(request, OwnedQuery)
        found = await asyncio.to_thread(self._gate.administration(actor).list_aliases, query.account)
        return answer_page(request, query, found, mark_of, show_alias)

    async def set(self, request: Request, actor: Actor) -> Answer[Alias]:
        """Makes an alias, or changes it."""
        body = await read_body(request, AliasBody)
        asked = body.capacity
        made = await asyncio.to_thread(
            self._gate.administration(actor).set_alias,
            body.name,
            body.model,
            body.account,
            task=body.task,
            capacity=None if asked is None else Changes(asked.min, asked.desired, asked.max),
        )
        await asyncio.to_thread(self._aliases.read)
        return Answer(output=show_alias(made))

    async def remove(self, request: Request, actor: Actor) -> Answer[str]:
        """Removes an alias."""
        query = read_query(request, AliasQuery)
        await asyncio.to_thread(self._gate.administration(actor).remove_alias, query.name, query.account)
        await asyncio.to_thread(self._aliases.read)
        return Answer(output="Removed")


def mark_of(listed: ListedAlias) -> str:
    """Where an alias is in the list."""
    return f"{listed.account_name} {listed.alias.name}"
