"""What each request was metered at: reserved before it ran where that is needed, settled once it is over.

A request that was settled is never changed again. What somebody is charged for is kept for ever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import chain
from typing import Any, Protocol, TypeVar

from msgspec import json
from msgspec.structs import asdict
from sqlalchemy import (
    JSON,
    ColumnElement,
    Connection,
    Row,
    Text,
    bindparam,
    case,
    cast,
    delete,
    func,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from modelyard.errors import NotFound
from modelyard.records.accounts import Account
from modelyard.records.requests import RequestRecord
from modelyard.store.database import Database, insert_into
from modelyard.store.tables import accounts, in_utc, requests, sqlite_text

Insertion = TypeVar("Insertion", sqlite.Insert, postgresql.Insert)

COLUMNS = RequestRecord.__struct_fields__
STATEMENT_ROWS = 128
"""Of one statement on SQLite, which takes 32,766 values at most."""
SETTLED = (
    "instance_id", "settled_at", "outcome", "took_us", "cost_nano", "charged_nano", "prompt_tokens", "new_tokens",
)  # fmt: skip
"""What a settlement says of a request that was reserved."""


class CheckFunds(Protocol):
    """The rule by which an account may begin something that costs `need_nano`; it has spent the two other amounts."""

    def __call__(self, account: Account, *, spent_nano: int, month_nano: int, need_nano: int) -> None:
        """Raises PaymentRequired when it may not."""


@dataclass(frozen=True, slots=True)
class Past:
    """What an account has spent beside its requests that came from `since` on: in all its time, and since
    `month_start`, in billionths of a US dollar."""

    since: datetime
    spent_nano: int
    month_start: datetime
    month_nano: int


@dataclass(frozen=True, slots=True)
class RequestTotals:
    """The settled requests of one account, model and UTC day."""

    account_id: str
    model_id: str
    day: date
    requests: int
    took_us: int
    cost_nano: int
    charged_nano: int


@dataclass(frozen=True, slots=True)
class KeyTotals:
    """The settled requests that came with one key; `key_id` None: nobody knows with which."""

    key_id: str | None
    requests: int
    took_us: int
    cost_nano: int
    charged_nano: int


class Requests:
    """Every account's requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, record: RequestRecord, past: Past, check_funds: CheckFunds) -> None:
        """Sets `record.reserved_nano` aside if `check_funds` allows it. Idempotent by id.

        One transaction that holds the account's row, so that no number of requests at once, from any number of
        processes, sets aside more than there is. Raises PaymentRequired, NotFound.
        """
        with self._database.write() as connection:
            owner = select(accounts).where(accounts.c.id == record.account_id).with_for_update()
            row = connection.execute(owner).one_or_none()
            if row is None:
                raise NotFound(f"No account has the id {record.account_id}.")
            if connection.execute(select(requests.c.id).where(requests.c.id == record.id)).first() is not None:
                return
            in_month = max(past.since, past.month_start)
            check_funds(
                Account(**row._mapping),
                spent_nano=past.spent_nano + _spent(connection, record.account_id, past.since),
                month_nano=past.month_nano + _spent(connection, record.account_id, in_month),
                need_nano=record.reserved_nano,
            )
            connection.execute(insert_into(connection, requests).values(_columns(record)))

    def settle(self, records: Collection[RequestRecord]) -> None:
        """Enters what requests came to, all in one transaction; what was set aside for them is free again.

        The first settlement of an id wins, a later one changes nothing. It needs no reservation.
        """
        if not records:
            return
        firsts: dict[str, RequestRecord] = {}
        for record in records:
            firsts.setdefault(record.id, record)
        # In order of id: two processes that lock the same rows in the same order cannot deadlock.
        ordered = [firsts[id_] for id_ in sorted(firsts)]
        with self._database.write() as connection:
            if self._database.is_sqlite:
                for part in _parts(ordered):
                    values = tuple(chain.from_iterable(map(_sqlite_values, part)))
                    connection.exec_driver_sql(_sqlite_settlement(len(part)), values)
            else:
                connection.execute(_postgresql_settlement(), {"rows": _postgresql_rows(ordered)})

    def settle_left_over(self, server_id: str, now: datetime) -> int:
        """Settles at zero what this server, before it ended, had set aside and never settled; how many there were."""
        is_own = or_(requests.c.server_id == server_id, requests.c.server_id.is_(None))
        statement = (
            update(requests).where(requests.c.settled_at.is_(None), is_own).values(settled_at=now, outcome="lost")
        )
        with self._database.write() as connection:
            return connection.execute(statement).rowcount

    def settle_those_of_others(self, server_id: str, now: datetime) -> int:
        """The same for other servers: for the one server of this database, which knows that no other one lives."""
        is_theirs = requests.c.settled_at.is_(None) & (requests.c.server_id != server_id)
        statement = update(requests).where(is_theirs).values(settled_at=now, outcome="lost")
        with self._database.write() as connection:
            return connection.execute(statement).rowcount

    def settle_unclaimed(self, claimed: Collection[str], before: datetime, now: datetime) -> int:
        """The same for all servers' requests from before `before`, but for those with these ids, which go on."""
        is_open = requests.c.settled_at.is_(None) & (requests.c.at < before)
        with self._database.write() as connection:
            ids = set(connection.scalars(select(requests.c.id).where(is_open)).all()) - set(claimed)
            statement = update(requests).where(is_open, requests.c.id.in_(ids)).values(settled_at=now, outcome="lost")
            return connection.execute(statement).rowcount

    def find(self, request_id: str) -> RequestRecord | None:
        with self._database.read() as connection:
            row = connection.execute(select(requests).where(requests.c.id == request_id)).one_or_none()
        return None if row is None else _record(row)

    def spent_nano(self, account_id: str, since: datetime | None = None, until: datetime | None = None) -> int:
        """What an account is charged for its requests that came from `since` up to, not including, `until`, and what
        is set aside for those under way."""
        with self._database.read() as connection:
            return _spent(connection, account_id, since, until)

    def oldest_open(self, account_id: str) -> datetime | None:
        """When the oldest request of an account that is not settled came."""
        statement = select(func.min(requests.c.at)).where(
            requests.c.account_id == account_id, requests.c.settled_at.is_(None)
        )
        with self._database.read() as connection:
            found: datetime | None = connection.execute(statement).scalar_one()
        return found

    def totals(
        self,
        account_id: str | None,
        model_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Sequence[RequestTotals]:
        """The settled requests of one account (None: of all) that came from `since` up to, not including, `until`,
        summed for each account, model and UTC day, in this order."""
        with self._database.read() as connection:
            day = _day(connection)
            statement = (
                select(
                    requests.c.account_id,
                    requests.c.model_id,
                    day.label("day"),
                    func.count().label("requests"),
                    *(func.sum(requests.c[name]).label(name) for name in ("took_us", "cost_nano", "charged_nano")),
                )
                .where(requests.c.settled_at.is_not(None), *_within(account_id, since, until))
                .group_by(requests.c.account_id, requests.c.model_id, day)
                .order_by(requests.c.account_id, requests.c.model_id, day)
            )
            if model_id is not None:
                statement = statement.where(requests.c.model_id == model_id)
            return [_totals(row) for row in connection.execute(statement)]

    def totals_by_key(
        self, account_id: str, model_id: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> Sequence[KeyTotals]:
        """The same of one account, summed for each key, in order of their ids."""
        statement = (
            select(
                requests.c.key_id,
                func.count().label("requests"),
                *(func.sum(requests.c[name]).label(name) for name in ("took_us", "cost_nano", "charged_nano")),
            )
            .where(requests.c.settled_at.is_not(None), *_within(account_id, since, until))
            .group_by(requests.c.key_id)
            .order_by(requests.c.key_id)
        )
        if model_id is not None:
            statement = statement.where(requests.c.model_id == model_id)
        with self._database.read() as connection:
            return [
                KeyTotals(row.key_id, row.requests, int(row.took_us), int(row.cost_nano), int(row.charged_nano))
                for row in connection.execute(statement)
            ]

    def prune(self, before: datetime, limit: int) -> int:
        """Deletes settled requests from before `before` that nobody is charged for, `limit` at most; how many."""
        old = select(requests.c.id).where(
            requests.c.account_id.in_(select(accounts.c.id)),  # all of them, and the index begins with it
            requests.c.at < before,
            requests.c.settled_at.is_not(None),
            requests.c.charged_nano == 0,
        )
        with self._database.read() as connection:  # looking for them keeps nobody from writing
            ids = connection.scalars(old.limit(limit)).all()
        if not ids:
            return 0
        with self._database.write() as connection:
            return connection.execute(delete(requests).where(requests.c.id.in_(ids))).rowcount


def _within(account_id: str | None, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if account_id is not None:
        conditions.append(requests.c.account_id == account_id)
    if since is not None:
        conditions.append(requests.c.at >= since)
    if until is not None:
        conditions.append(requests.c.at < until)
    return conditions


def _spent(
    connection: Connection, account_id: str, since: datetime | None = None, until: datetime | None = None
) -> int:
    counts = case((requests.c.settled_at.is_(None), requests.c.reserved_nano), else_=requests.c.charged_nano)
    statement = select(func.coalesce(func.sum(counts), 0)).where(*_within(account_id, since, until))
    return int(connection.execute(statement).scalar_one())


def _day(connection: Connection) -> ColumnElement[str]:
    """A request's UTC day, as text. The two databases have no function for it in common."""
    if connection.dialect.name == "sqlite":
        return func.date(requests.c.at)
    return func.to_char(func.timezone("UTC", requests.c.at), "YYYY-MM-DD")


def _totals(row: Row[tuple[object, ...]]) -> RequestTotals:
    # PostgreSQL sums whole numbers to decimals.
    return RequestTotals(
        row.account_id,
        row.model_id,
        date.fromisoformat(row.day),
        row.requests,
        int(row.took_us),
        int(row.cost_nano),
        int(row.charged_nano),
    )


def _settlement(insertion: Insertion) -> Insertion:
    return insertion.on_conflict_do_update(
        index_elements=["id"],
        set_={name: insertion.excluded[name] for name in SETTLED},
        where=requests.c.settled_at.is_(None),
    )


def _parts(records: Sequence[RequestRecord]) -> Iterator[Sequence[RequestRecord]]:
    """All of them, as many at a time as one statement takes: STATEMENT_ROWS, then half as many, and so on, so that
    there are few statements to prepare."""
    begin, rows = 0, STATEMENT_ROWS
    while begin < len(records):
        if len(records) - begin >= rows:
            yield records[begin : begin + rows]
            begin += rows
        else:
            rows //= 2


@cache
def _sqlite_settlement(rows: int) -> str:
    """The same for so many rows as the driver takes it: giving it rows through SQLAlchemy takes three times as long.

    Many rows in one statement, for the driver lets go of the interpreter's lock for each statement that it runs, and
    then waits until the event loop has to let go of it: so often as that, both are held up, and it takes twice as long.
    """
    statement = _settlement(sqlite.insert(requests))
    text = str(statement.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=COLUMNS))
    row = f"({', '.join('?' * len(COLUMNS))})"
    return text.replace(row, ", ".join([row] * rows))


def _sqlite_values(record: RequestRecord) -> tuple[Any, ...]:
    """A row in the order of the table, as SQLite's driver takes it. Its texts are ids of ours and a model's that was
    checked: clean already."""
    return (
        record.id,
        record.account_id,
        record.key_id,
        record.model_id,
        record.instance_id,
        record.memory_bytes,
        sqlite_text(record.at),
        None if record.settled_at is None else sqlite_text(record.settled_at),
        record.outcome,
        record.took_us,
        record.reserved_nano,
        record.cost_nano,
        record.charged_nano,
        record.server_id,
        record.prompt_tokens,
        record.new_tokens,
    )


@cache
def _postgresql_settlement() -> postgresql.Insert:
    """The same for rows in one JSON text, which PostgreSQL takes apart; row by row the driver takes ten times as
    long."""
    rows = func.json_populate_recordset(literal_column("NULL::requests"), cast(bindparam("rows", type_=Text()), JSON))
    return _settlement(postgresql.insert(requests).from_select(COLUMNS, select(*rows.table_valued(*COLUMNS).columns)))


def _postgresql_rows(records: Sequence[RequestRecord]) -> str:
    """That text. Texts in it are as those of `_sqlite_values`. Raises ValueError for a moment without a time zone."""
    for record in records:
        in_utc(record.at)
        if record.settled_at is not None:
            in_utc(record.settled_at)
    return json.encode(records).decode()


def _columns(record: RequestRecord) -> dict[str, Any]:
    return asdict(record)


def _record(row: Row[tuple[object, ...]]) -> RequestRecord:
    return RequestRecord(**row._mapping)
