"""What an account has used and what it costs, as v2 shows it.

Decimal numbers are made of whole ones here and nowhere else; the sums are `accounts.usage`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from modelyard.accounts import ledger
from modelyard.accounts import usage as sums
from modelyard.accounts.funds import Standing
from modelyard.accounts.pricing import meter_of, price
from modelyard.clock import iso
from modelyard.gateway.shapes.base import Shape, described, moment
from modelyard.money import NANO, PICO, US
from modelyard.records.accounts import Key
from modelyard.records.requests import RequestRecord
from modelyard.store.requests import KeyTotals
from modelyard.units import GIB

Ending = Literal["answered", "failed", "cancelled", "lost"]
GROUPS: dict[str | None, tuple[sums.Part, ...]] = {
    None: ("day", "model_id"),
    "day": ("day",),
    "model": ("model_id",),
}
"""`?groupBy=` → what rows are for."""


class Row(Shape, frozen=True, kw_only=True):
    """How much was used, by one group or in all."""

    day: Annotated[str | UnsetType, described("YYYY-MM-DD, UTC; not in the total, nor with groupBy=model.")] = UNSET
    model_id: Annotated[str | UnsetType, described("The model; not in the total, nor with groupBy=day.")] = UNSET
    instances: Annotated[int, described("Instances that are billed in it.")]
    seconds: Annotated[float, described("Their time that counts.")]
    billed_seconds: Annotated[float, described("With the minimum, rounded up.")]
    gb_seconds: Annotated[float, described("Billed seconds × GB of required memory.")]
    requests: Annotated[int, described("Requests that instances worked on.")]
    inference_seconds: Annotated[float, described("The time they took.")]
    cost: Annotated[float, described("US dollars.")]
    cost_nano: Annotated[int, described("The same in billionths of a US dollar, exactly.")]


class Line(Shape, frozen=True, kw_only=True):
    """One instance on the bill."""

    instance_id: Annotated[str, described("The instance.")]
    model_id: Annotated[str, described("The model.")]
    since: Annotated[str, described("When its time began. ISO 8601, UTC, microseconds, Z.")] = msgspec.field(
        name="from"
    )
    until: Annotated[str, described("When its time ended, or now. ISO 8601, UTC, microseconds, Z.")] = msgspec.field(
        name="to"
    )
    open: Annotated[bool, described("Whether it goes on.")]
    ram_required: Annotated[float, described("GB of memory it holds.")]
    seconds: Annotated[float, described("Its time that counts.")]
    billed_seconds: Annotated[float, described("With the minimum, rounded up.")]
    gb_seconds: Annotated[float, described("Billed seconds × GB of required memory.")]
    cost: Annotated[float, described("US dollars.")]
    cost_nano: Annotated[int, described("The same in billionths of a US dollar, exactly.")]


class Funds(Shape, frozen=True, kw_only=True):
    """What an account may still spend."""

    credit: Annotated[float | None, described("US dollars it was given; null: as many as it likes.")]
    spent: Annotated[float, described("Of them, spent.")]
    monthly_limit: Annotated[float | None, described("US dollars a month; null: as many as it likes.")]
    spent_this_month: Annotated[float, described("Of them, spent.")]
    left: Annotated[float, described("What the lower of both leaves.")]
    left_nano: Annotated[int, described("The same in billionths of a US dollar, exactly.")]


class Usage(Shape, frozen=True, kw_only=True):
    """What was used in a period."""

    since: Annotated[str, moment("Its beginning.")]
    until: Annotated[str, moment("Its end, not included.")]
    rows: Annotated[Sequence[Row], described("What was used, by UTC day and model.")]
    total: Annotated[Row, described("All rows together.")]
    funds: Annotated[Funds | None, described("Credit, limit, what is spent and left; null without either.")]
    lines: Annotated[
        Sequence[Line] | UnsetType, described("With ?lines=true: each instance, its interval and its cost.")
    ] = UNSET


class RequestUsage(Shape, frozen=True, kw_only=True):
    """What one request took and cost."""

    request_id: Annotated[str, described("From the header x-request-id.")]
    model_id: Annotated[str, described("The model.")]
    instance_id: Annotated[str | None, described("The instance that worked on it last.")]
    at: Annotated[str, moment("When it came.")]
    outcome: Annotated[Ending, described("How it ended.")]
    meter: Annotated[str, described("The model's price tier.")]
    meter_price: Annotated[float, described("US dollars per second, today.")]
    time: Annotated[float, described("Seconds an instance worked on it.")]
    cost: Annotated[float, described("US dollars for that time.")]
    cost_nano: Annotated[int, described("The same in billionths of a US dollar, exactly.")]
    charged: Annotated[float, described("What of it is on the bill; 0 where instances are billed.")]
    charged_nano: Annotated[int, described("The same in billionths of a US dollar, exactly.")]
    prompt_tokens: Annotated[int | None, described("Tokens the model read; null where it does not tell.")]
    new_tokens: Annotated[int | None, described("Tokens it wrote; null where it writes none.")]


class KeyUsage(Shape, frozen=True, kw_only=True):
    """What came with one key, as far as requests are kept. Instances are the account's, not a key's."""

    key_id: Annotated[str | None, described("The key's id; null: it is not known.")]
    key_name: Annotated[str | None, described("Its name.")]
    revoked: Annotated[bool, described("Whether it has ended.")]
    requests: Annotated[int, described("Requests that instances worked on.")]
    inference_seconds: Annotated[float, described("The time they took.")]
    cost: Annotated[float, described("US dollars for that time.")]
    cost_nano: Annotated[int, described("The same in billionths of a US dollar, exactly.")]
    charged: Annotated[float, described("What of it is on the bill; 0 where instances are billed.")]
    charged_nano: Annotated[int, described("The same in billionths of a US dollar, exactly.")]


class PeriodQuery(Shape, frozen=True, kw_only=True):
    """Which use."""

    since: Annotated[str | None, described("From this ISO date or time on (UTC); by default this month.")] = None
    until: Annotated[str | None, described("Up to, not including, this date or time; by default now.")] = None
    model_id: Annotated[str | None, described("Only this model.")] = None


class UsageQuery(PeriodQuery, frozen=True, kw_only=True):
    """Which use, and how it is put together."""

    group_by: Annotated[
        Literal["day", "model"] | None,
        described("Without it, rows are for both.", accepted="day or model; without it, both"),
    ] = None
    lines: Annotated[bool, described("Add a line for each instance.")] = False


def show_usage(usage: sums.Usage, query: UsageQuery, standing: Standing | None) -> Usage:
    """An account's use of a period."""
    return Usage(
        since=iso(usage.since),
        until=iso(usage.until),
        rows=show_rows(usage, GROUPS[query.group_by]),
        total=show_row(usage.total()),
        funds=None if standing is None else show_funds(standing),
        lines=[show_line(line) for line in usage.lines] if query.lines else UNSET,
    )


def show_rows(usage: sums.Usage, parts: Sequence[sums.Part]) -> Sequence[Row]:
    """The rows by these parts."""
    return [
        show_row(row, **{part: str(value) for part, value in zip(parts, group, strict=True)})
        for group, row in usage.rows(*parts).items()
    ]


def show_row(row: sums.Row, *, day: str | UnsetType = UNSET, model_id: str | UnsetType = UNSET) -> Row:
    """A row for that day and model."""
    return Row(
        day=day,
        model_id=model_id,
        instances=len(row.instances),
        seconds=row.charge.took_us / US,
        billed_seconds=row.charge.billed_us / US,
        gb_seconds=row.charge.byte_us / (GIB * US),
        requests=row.requests,
        inference_seconds=row.inference_us / US,
        cost=row.cost_nano / NANO,
        cost_nano=row.cost_nano,
    )


def show_line(line: ledger.Line) -> Line:
    """A line of the bill."""
    return Line(
        instance_id=line.instance_id,
        model_id=line.model_id,
        since=exact(line.since),
        until=exact(line.until),
        open=line.open,
        ram_required=line.memory_bytes / GIB,
        seconds=line.charge.took_us / US,
        billed_seconds=line.charge.billed_us / US,
        gb_seconds=line.charge.byte_us / (GIB * US),
        cost=line.charge.amount_nano / NANO,
        cost_nano=line.charge.amount_nano,
    )


def show_key_usage(totals: KeyTotals, key: Key | None) -> KeyUsage:
    """What came with a key."""
    return KeyUsage(
        key_id=totals.key_id,
        key_name=None if key is None else key.name,
        revoked=key is not None and key.revoked_at is not None,
        requests=totals.requests,
        inference_seconds=totals.took_us / US,
        cost=totals.cost_nano / NANO,
        cost_nano=totals.cost_nano,
        charged=totals.charged_nano / NANO,
        charged_nano=totals.charged_nano,
    )


def show_request(record: RequestRecord, usd_per_gb_s: float) -> RequestUsage:
    """A settled request; the price is that of today, the cost that of its time."""
    return RequestUsage(
        request_id=record.id,
        model_id=record.model_id,
        instance_id=record.instance_id,
        at=iso(record.at),
        outcome=cast(Ending, record.outcome),
        meter=meter_of(record.memory_bytes),
        meter_price=price(record.memory_bytes, usd_per_gb_s).pico_per_s / PICO,
        time=record.took_us / US,
        cost=record.cost_nano / NANO,
        cost_nano=record.cost_nano,
        charged=record.charged_nano / NANO,
        charged_nano=record.charged_nano,
        prompt_tokens=record.prompt_tokens,
        new_tokens=record.new_tokens,
    )


def show_funds(standing: Standing) -> Funds:
    """What the account may still spend."""
    account, left_nano = standing.account, standing.left_nano()
    return Funds(
        credit=in_dollars(account.credit_nano),
        spent=standing.spent_nano / NANO,
        monthly_limit=in_dollars(account.monthly_limit_nano),
        spent_this_month=standing.month_nano / NANO,
        left=left_nano / NANO,
        left_nano=left_nano,
    )


def in_dollars(nano: int | None) -> float | None:
    """An amount as a decimal number."""
    return None if nano is None else nano / NANO


def exact(moment: datetime) -> str:
    """ISO 8601 UTC with microseconds: what a line can be computed again from."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
