"""Who may use the admin API, and in whose name its changes are made. Attempts of others are denied, and told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request

from modelyard.accounts.administration import Administration
from modelyard.accounts.audit import DeniedAttempts
from modelyard.accounts.cache_administration import CacheAdministration
from modelyard.clock import Clock
from modelyard.errors import ModelyardError, OperatorOnly
from modelyard.gateway.operation import Handler, Operation
from modelyard.gateway.shapes.admin import AdminError
from modelyard.records.accounts import Key
from modelyard.records.audit import Actor
from modelyard.store.store import Store

ROOT = "/admin/v1"
TAG = "admin"
FAILURES = {403: "The key is of another account than the operator's, or the account has all that it may have."}
STRANGER = "somebody without a key"
MOST_PATH_CHARACTERS = 512
"""Of a path in the audit log."""

Work = Callable[[Request, Actor], Awaitable[Any]]
"""A call of the admin API: takes the request and who makes it."""


class Gate:
    """Lets the operator in. Loop thread only."""

    def __init__(self, store: Store, clock: Clock, operator_id: str, hub_cache: Path, data_dir: Path) -> None:
        """`operator_id`: the account whose keys may administer. `hub_cache`, `data_dir`: see CacheAdministration."""
        self._store = store
        self._clock = clock
        self._operator_id = operator_id
        self._hub_cache = hub_cache
        self._data_dir = data_dir
        self._denied = DeniedAttempts(store.audit, clock)

    def administration(self, actor: Actor) -> Administration:
        """The rules, with changes in that name."""
        return Administration(self._store, self._clock, actor)

    def cache(self, actor: Actor) -> CacheAdministration:
        """The same of the cache."""
        return CacheAdministration(self._store, self._clock, self._hub_cache, self._data_dir, actor)

    def serve(self, operation: Operation, work: Work) -> Operation:
        """The same call with what answers it."""
        name = f"{operation.methods[0]} {operation.path}"
        return replace(operation, handler=self._handler(work), on_denied=partial(self.note_denied, name))

    def _handler(self, work: Work) -> Handler:
        async def handle(request: Request, key: Key) -> Any:
            if key.account_id != self._operator_id:
                raise OperatorOnly(
                    "Only keys of the operator's account may administer this server.",
                    account_id=key.account_id,
                    key_id=key.id,
                )
            return await work(request, await asyncio.to_thread(self._actor_of, key.account_id, key.id, request))

        return handle

    def _actor_of(self, account_id: str | None, key_id: str | None, request: Request) -> Actor:
        name = STRANGER if account_id is None else self._store.accounts.get(account_id).name
        return Actor("http", name, key_id, None if request.client is None else request.client.host)

    async def note_denied(self, action: str, request: Request, error: ModelyardError) -> None:
        """Has the audit log tell of an attempt that was denied, unless there are too many. `action`: the call."""
        account_id, key_id = error.data.get("account_id"), error.data.get("key_id")
        if not self._denied.may_note(account_id, None if request.client is None else request.client.host):
            return

        def write() -> None:
            actor = self._actor_of(account_id, key_id, request)
            self._denied.write(actor, action, request.url.path[:MOST_PATH_CHARACTERS], error.message)

        await asyncio.to_thread(write)


def describe(method: str, path: str, summary: str, answer: Any, **more: Any) -> Operation:
    """One call, without what answers it. `more`: further fields of its Operation."""
    return Operation(
        methods=(method,),
        path=ROOT + path,
        summary=summary,
        tag=TAG,
        answer=answer,
        error=AdminError,
        failures=FAILURES,
        **more,
    )
