"""What an account has used: `GET /models/v2/usage` and `/models/v2/usage/{request-id}`. Owns their shapes."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request

from modelyard.accounts.funds import Standing
from modelyard.accounts.usage import Part, read_period, read_usage, show_line, show_request, show_row, show_rows
from modelyard.clock import iso
from modelyard.errors import InvalidRequest, NotFound
from modelyard.money import NANO
from modelyard.records.accounts import Key
from modelyard.records.models import check_model_id
from modelyard.serving import Services

GROUPS: dict[str | None, dict[Part, str]] = {
    None: {"day": "day", "model_id": "modelId"},
    "day": {"day": "day"},
    "model": {"model_id": "modelId"},
}
"""`?groupBy=` → what rows are for, and under which names."""
BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


async def show_usage(services: Services, request: Request, key: Key) -> dict[str, Any]:
    """The account's use: `?since=`, `?until=`, `?modelId=`, `?groupBy=`, `?lines=`. Raises InvalidRequest."""
    given = request.query_params
    now = services.ledger_clock.now()
    since, until = read_period(given.get("since"), given.get("until"), now)
    group_by = given.get("groupBy")
    if group_by not in GROUPS:
        raise InvalidRequest(field="groupBy", got=group_by, accepted="day or model; without it, both")
    wants_lines = given.get("lines", "false").lower()
    if wants_lines not in BOOLEANS:
        raise InvalidRequest(field="lines", got=wants_lines, accepted="true or false")
    model_id = given.get("modelId")
    if model_id is not None:
        check_model_id(model_id)
    await services.journal.flush()
    usage = await asyncio.to_thread(
        read_usage, services.store, key.account_id, since, until, model_id=model_id, now=now
    )
    shown = {
        "since": iso(since),
        "until": iso(until),
        "rows": show_rows(usage, GROUPS[group_by]),
        "total": show_row(usage.total()),
        "funds": show_funds(services.funds.find(key.account_id)),
    }
    return {**shown, "lines": [show_line(line) for line in usage.lines]} if BOOLEANS[wants_lines] else shown


async def show_one(services: Services, request: Request, key: Key) -> dict[str, Any]:
    """One request of the account: what it took and cost. Raises NotFound."""
    request_id = request.path_params["request_id"]
    await services.journal.flush()
    record = await asyncio.to_thread(services.store.requests.find, request_id)
    if record is None or record.account_id != key.account_id or record.settled_at is None:
        raise NotFound(
            f"No finished request of your account has the id {request_id}. It is in the header x-request-id of an "
            "inference that reached an instance."
        )
    return show_request(record, services.settings.price_per_gb_s)


def show_funds(standing: Standing | None) -> dict[str, Any] | None:
    """What the account may still spend; null for one that may spend without end."""
    if standing is None:
        return None
    account = standing.account
    return {
        "credit": in_dollars(account.credit_nano),
        "spent": in_dollars(standing.spent_nano),
        "monthlyLimit": in_dollars(account.monthly_limit_nano),
        "spentThisMonth": in_dollars(standing.month_nano),
        "left": in_dollars(standing.left_nano()),
        "leftNano": standing.left_nano(),
    }


def in_dollars(nano: int | None) -> float | None:
    """An amount as a decimal number."""
    return None if nano is None else nano / NANO
