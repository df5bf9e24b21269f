"""What accounts have used and what it costs, put together from the ledger for a period and grouped as asked.

Owns the sums; `ledger` has the formula. Reads the store, so it belongs in a thread.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Literal, NamedTuple

from modelyard.accounts.ledger import Charge, Line, by_day, lines, month_start
from modelyard.clock import iso
from modelyard.errors import InvalidRequest
from modelyard.money import US, decimal
from modelyard.store.requests import RequestTotals
from modelyard.store.store import Store
from modelyard.units import GIB

Part = Literal["account_id", "day", "model_id"]
Group = tuple[date | str, ...]


@dataclass(slots=True)
class Row:
    """The use of one group. `instances`: their ids; `charge`: what they cost; `charged_nano`: what is charged for the
    requests themselves, beside their instances."""

    instances: set[str] = field(default_factory=set)
    charge: Charge = field(default_factory=Charge)
    requests: int = 0
    inference_us: int = 0
    charged_nano: int = 0

    @property
    def cost_nano(self) -> int:
        """All of it, in billionths of a US dollar."""
        return self.charge.amount_nano + self.charged_nano


@dataclass(frozen=True, slots=True)
class Usage:
    """What was used from `since` up to, not including, `until`. `lines`: one for each instance; `days`: the same, one
    for each instance and UTC day."""

    since: datetime
    until: datetime
    lines: Sequence[Line]
    days: Sequence[Line]
    requests: Sequence[RequestTotals]

    def rows(self, *parts: Part) -> dict[Group, Row]:
        """The rows for each combination of `parts`, in order; without any, one row under `()` for everything."""
        found: defaultdict[Group, Row] = defaultdict(Row)
        for line in self.days:
            row = found[group_of(line, parts)]
            row.instances.add(line.instance_id)
            row.charge += line.charge
        for some in self.requests:
            row = found[group_of(some, parts)]
            row.requests += some.requests
            row.inference_us += some.took_us
            row.charged_nano += some.charged_nano
        return dict(sorted(found.items()))

    def total(self) -> Row:
        """Everything."""
        return self.rows().get((), Row())


class UsedRow(NamedTuple):
    """What one account used of a model on one UTC day. Decimals are text, so that they are exact: times in seconds,
    `gb_seconds` in GB of memory times billed seconds, `cost_usd` in US dollars."""

    account: str
    day: str
    model: str
    instances: int
    seconds: str
    billed_seconds: str
    gb_seconds: str
    requests: int
    inference_seconds: str
    cost_usd: str


class UsedLine(NamedTuple):
    """One instance's time on the bill, decimals as in UsedRow. `since`, `until`: ISO 8601, UTC, microseconds."""

    account: str
    model: str
    instance: str
    since: str
    until: str
    open: bool
    gb: str
    seconds: str
    billed_seconds: str
    gb_seconds: str
    cost_usd: str


def used_rows(usage: Usage, names: Mapping[str, str]) -> list[UsedRow]:
    """The rows by account, day and model. `names`: account id → name."""
    return [
        UsedRow(
            names[str(account_id)],
            str(day),
            str(model_id),
            len(row.instances),
            decimal(row.charge.took_us, 6),
            decimal(row.charge.billed_us, 6),
            f"{row.charge.byte_us / (GIB * US):.6f}",
            row.requests,
            decimal(row.inference_us, 6),
            decimal(row.cost_nano),
        )
        for (account_id, day, model_id), row in usage.rows("account_id", "day", "model_id").items()
    ]


def used_lines(usage: Usage, names: Mapping[str, str]) -> list[UsedLine]:
    """The lines of every instance. `names`: account id → name."""
    return [
        UsedLine(
            names[line.account_id],
            line.model_id,
            line.instance_id,
            exact(line.since),
            exact(line.until),
            line.open,
            f"{line.memory_bytes / GIB:.6f}",
            decimal(line.charge.took_us, 6),
            decimal(line.charge.billed_us, 6),
            f"{line.charge.byte_us / (GIB * US):.6f}",
            decimal(line.charge.amount_nano),
        )
        for line in usage.lines
    ]


def group_of(entry: Line | RequestTotals, parts: Iterable[Part]) -> Group:
    """Where an entry belongs."""
    return tuple(getattr(entry, part) for part in parts)


def read_usage(
    store: Store,
    account_id: str | None,
    since: datetime,
    until: datetime,
    *,
    model_id: str | None = None,
    now: datetime | None = None,
) -> Usage:
    """The use of one account (None: of all) in a period. `now`: the present moment for lives that go on; None: they
    count up to their last heartbeat."""
    lives = store.instances.list(account_id, model_id, since, until)
    requests = store.requests.totals(account_id, model_id, since, until)
    return Usage(since, until, [*lines(lives, since, until, now)], [*by_day(lives, since, until, now)], requests)


def read_period(since: str | None, until: str | None, now: datetime) -> tuple[datetime, datetime]:
    """A period from two ISO dates or times (without a zone: UTC), by default this month (UTC) up to now.

    Raises InvalidRequest.
    """
    begin = month_start(now) if since is None else read_moment(since, "since")
    end = now if until is None else read_moment(until, "until")
    if until is not None and end <= begin:
        raise InvalidRequest(field="until", got=until, accepted=f"a moment after since, {iso(begin)}")
    return begin, max(begin, end)


def read_moment(text: str, field: str) -> datetime:
    """An ISO date (its beginning) or time; UTC unless it says otherwise. Raises InvalidRequest."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        accepted = "an ISO date or time, such as 2026-05-01 or 2026-05-01T08:00:00Z"
        raise InvalidRequest(field=field, got=text, accepted=accepted) from None


def exact(moment: datetime) -> str:
    """ISO 8601 UTC with microseconds: what a line can be computed again from."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
