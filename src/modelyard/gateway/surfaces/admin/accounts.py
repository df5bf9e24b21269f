"""The admin API's calls on accounts: make, list, limit, credit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec import UNSET
from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.administration import ListedAccount
from modelyard.accounts.amounts import parse_money, parse_usd
from modelyard.accounts.usage import exact
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.shapes.admin import (
    Account,
    CreditBody,
    LimitsBody,
    Listed,
    NameBody,
    PagedQuery,
    show_account,
)
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.gateway.surfaces.admin.pages import answer_page
from modelyard.records.accounts import AccountLimits
from modelyard.records.audit import Actor

LIST_COST = 5.0


ONE = "/accounts/{account}"
LIST = describe(
    "GET", "/accounts", "List accounts, oldest first, in pages", Listed[Account], query=PagedQuery, cost=LIST_COST
)
CREATE = describe("POST", "/accounts", "Make an account, without limits", Answer[Account], body=NameBody, status=201)
GET = describe("GET", ONE, "Read an account", Answer[Account])
LIMIT = describe(
    "PATCH",
    f"{ONE}/limits",
    "Change an account's limits; what runs already is not ended",
    Answer[Account],
    body=LimitsBody,
)
CREDIT = describe(
    "POST", f"{ONE}/credit", "Add to what an account has paid in advance", Answer[Account], body=CreditBody
)
ACCOUNT_CALLS = (LIST, CREATE, GET, LIMIT, CREDIT)


class AccountCalls:
    """Handlers over the rules about accounts."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def operations(self) -> Sequence[Operation]:
        """What can be done with accounts."""
        handlers = (self.list, self.create, self.get, self.limit, self.credit)
        return [self._gate.serve(*each) for each in zip(ACCOUNT_CALLS, handlers, strict=True)]

    async def list(self, request: Request, actor: Actor) -> Response:
        """All accounts."""
        query = read_query(request, PagedQuery)
        found = await asyncio.to_thread(self._gate.administration(actor).list_accounts)
        return answer_page(request, query, found, mark_of, show_account)

    async def create(self, request: Request, actor: Actor) -> Answer[Account]:
        """A new account."""
        body = await read_body(request, NameBody)
        made = await asyncio.to_thread(self._gate.administration(actor).create_account, body.name)
        return Answer(output=show_account(ListedAccount(made, 0)))

    async def get(self, request: Request, actor: Actor) -> Answer[Account]:
        """One account."""
        return await self._show(request, actor)

    async def limit(self, request: Request, actor: Actor) -> Answer[Account]:
        """Changes the limits that the body names."""
        limits = read_limits(await read_body(request, LimitsBody, nulls=True))
        await asyncio.to_thread(self._gate.administration(actor).set_limits, account_of(request), limits)
        return await self._show(request, actor)

    async def credit(self, request: Request, actor: Actor) -> Answer[Account]:
        """Adds to its credit."""
        amount_nano = parse_usd((await read_body(request, CreditBody)).usd, "usd")
        await asyncio.to_thread(self._gate.administration(actor).add_credit, account_of(request), amount_nano)
        return await self._show(request, actor)

    async def _show(self, request: Request, actor: Actor) -> Answer[Account]:
        find = self._gate.administration(actor).get_listed_account
        return Answer(output=show_account(await asyncio.to_thread(find, account_of(request))))


def account_of(request: Request) -> str:
    """The account that a path names, by its name or id."""
    return str(request.path_params["account"])


def mark_of(listed: ListedAccount) -> str:
    """Where an account is in the list."""
    return f"{exact(listed.account.created_at)} {listed.account.id}"


def read_limits(body: LimitsBody) -> AccountLimits:
    """The limits that are to change. Raises InvalidRequest."""
    limits: AccountLimits = {}
    if body.max_instances is not UNSET:
        limits["max_instances"] = body.max_instances
    if body.max_memory_bytes is not UNSET:
        limits["max_memory_bytes"] = body.max_memory_bytes
    if body.max_concurrent is not UNSET:
        limits["max_concurrent"] = body.max_concurrent
    if body.max_models is not UNSET:
        limits["max_models"] = body.max_models
    if body.max_disk_bytes is not UNSET:
        limits["max_disk_bytes"] = body.max_disk_bytes
    if body.weight is not UNSET:
        limits["weight"] = body.weight
    if body.monthly_limit_usd is not UNSET:
        text = body.monthly_limit_usd
        limits["monthly_limit_nano"] = None if text is None else parse_money(text, "monthlyLimitUsd")
    return limits
