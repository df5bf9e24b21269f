"""The admin API's calls on keys: make, list, limit, revoke."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.administration import ListedKey
from modelyard.accounts.usage import exact
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.shapes.admin import (
    Key,
    KeyBody,
    KeyLimitBody,
    Listed,
    NewKey,
    OwnedQuery,
    show_listed_key,
    show_new_key,
)
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.surfaces.admin.accounts import LIST_COST
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.gateway.surfaces.admin.pages import answer_page
from modelyard.records.audit import Actor

ONE = "/keys/{key}"
LIST = describe(
    "GET", "/keys", "List keys, oldest first, revoked ones too, in pages", Listed[Key], query=OwnedQuery, cost=LIST_COST
)
CREATE = describe("POST", "/keys", "Make a key, which is shown this once", Answer[NewKey], body=KeyBody, status=201)
LIMIT = describe("PATCH", ONE, "Change a key's rate limit", Answer[str], body=KeyLimitBody)
REVOKE = describe("DELETE", ONE, "End a key; the server refuses it within seconds", Answer[str])
KEY_CALLS = (LIST, CREATE, LIMIT, REVOKE)


class KeyCalls:
    """Handlers over the rules about keys."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def operations(self) -> Sequence[Operation]:
        """What can be done with keys."""
        handlers = (self.list, self.create, self.limit, self.revoke)
        return [self._gate.serve(*each) for each in zip(KEY_CALLS, handlers, strict=True)]

    async def list(self, request: Request, actor: Actor) -> Response:
        """The keys of one account or of all."""
        query = read_query(request, OwnedQuery)
        found = await asyncio.to_thread(self._gate.administration(actor).list_keys, query.account)
        return answer_page(request, query, found, mark_of, show_listed_key)

    async def create(self, request: Request, actor: Actor) -> Answer[NewKey]:
        """A new key."""
        body = await read_body(request, KeyBody)
        rules = self._gate.administration(actor)
        made = await asyncio.to_thread(rules.create_key, body.name, body.account, body.rate_limit)
        return Answer(output=show_new_key(made.key, body.account, made.secret))

    async def limit(self, request: Request, actor: Actor) -> Answer[str]:
        """Changes what it may do."""
        body = await read_body(request, KeyLimitBody, nulls=True)
        await asyncio.to_thread(self._gate.administration(actor).set_rate_limit, key_of(request), body.rate_limit)
        return Answer(output="Changed")

    async def revoke(self, request: Request, actor: Actor) -> Answer[str]:
        """Ends it."""
        await asyncio.to_thread(self._gate.administration(actor).revoke_key, key_of(request))
        return Answer(output="Revoked")


def key_of(request: Request) -> str:
    """The key that a path names, by its id or its first characters."""
    return str(request.path_params["key"])


def mark_of(listed: ListedKey) -> str:
    """Where a key is in the list."""
    return f"{exact(listed.key.created_at)} {listed.key.id}"
