"""The admin API's calls on private and gated models of the hub: who may use them besides the operator."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.administration import RestrictedModel
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.shapes.admin import Account, Listed, PagedQuery, show_account
from modelyard.gateway.shapes.admin_shares import Share, ShareBody, ShareQuery, show_share
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.surfaces.admin.accounts import LIST_COST
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.gateway.surfaces.admin.pages import answer_page
from modelyard.records import accounts
from modelyard.records.audit import Actor

SHARE_CALLS = (
    describe(
        "GET",
        "/shares",
        "List the private and gated models of the hub that were met, and who may use them, in pages",
        Listed[Share],
        query=PagedQuery,
        cost=LIST_COST,
    ),
    describe(
        "PUT",
        "/shares",
        "Let an account use a private or gated model, within seconds",
        Answer[Account],
        body=ShareBody,
    ),
    describe(
        "DELETE",
        "/shares",
        "Take that back, within seconds; what runs already is not ended",
        Answer[Account],
        query=ShareQuery,
    ),
)


class ShareCalls:
    """Handlers over the rules about restricted models."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def operations(self) -> Sequence[Operation]:
        """What can be done with shares."""
        return [
            self._gate.serve(*each) for each in zip(SHARE_CALLS, (self.list, self.share, self.unshare), strict=True)
        ]

    async def list(self, request: Request, actor: Actor) -> Response:
        """All restricted models."""
        query = read_query(request, PagedQuery)
        found = await asyncio.to_thread(self._gate.administration(actor).list_restricted)
        return answer_page(request, query, found, mark_of, show_share)

    async def share(self, request: Request, actor: Actor) -> Answer[Account]:
        """Lets an account use one."""
        body = await read_body(request, ShareBody)
        shared = await asyncio.to_thread(self._gate.administration(actor).share_model, body.model, body.account)
        return await self._show(shared, actor)

    async def unshare(self, request: Request, actor: Actor) -> Answer[Account]:
        """Takes it back."""
        query = read_query(request, ShareQuery)
        changed = await asyncio.to_thread(self._gate.administration(actor).unshare_model, query.model, query.account)
        return await self._show(changed, actor)

    async def _show(self, account: accounts.Account, actor: Actor) -> Answer[Account]:
        find = self._gate.administration(actor).get_listed_account
        return Answer(output=show_account(await asyncio.to_thread(find, account.id)))


def mark_of(model: RestrictedModel) -> str:
    """Where a model is in the list."""
    return model.model_id
