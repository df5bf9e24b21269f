"""Who leads the servers of one PostgreSQL database: a lease that is renewed, with a token that rises with each holder.

Time is the database's clock alone. A token is the time in milliseconds at which it was given, or more: where another
server of the database takes over, which had not been told of the last holder, its next token is higher all the same.
A transaction of the leader checks the token and holds a share of the row until it
ends: nobody else leads before it was committed or undone, and nothing of an earlier leader is committed afterwards.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Row, cast, func, literal, select, text, update
from sqlalchemy.dialects import postgresql

from modelyard.errors import LeaseLost
from modelyard.records.leases import NOWHERE, LeaderAddress, Lease
from modelyard.store.counters import count_change
from modelyard.store.database import Database
from modelyard.store.tables import leases

NAME = "control"
COUNTER = "leaders"
LEASE_LOCK_S = 1.0
"""How long asking about the lease waits for another server that does, and may stand still in the middle of that."""
STALLED_MS = 1500
"""A transaction of the leader's in which nothing has come for so long is ended by the database: a server that was
stopped in the middle of one must not keep others from leading. Less than a lease has left when its holder stops: then
nobody waits for it."""

# A share of the key, which renewing the lease does not wait for; changing who leads does.
_CHECK = text(
    "SELECT token, set_config('idle_in_transaction_session_timeout', :stalled_ms, true)"
    " FROM leases WHERE name = :name FOR KEY SHARE"
)

_NOW_MS = cast(func.floor(func.extract("epoch", func.clock_timestamp()) * 1000), BigInteger)


class Leases:
    """The one lease that there is. For PostgreSQL: an SQLite file has one server, which the kernel sees to."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self) -> Lease | None:
        """Who leads, or led last; None: nobody ever has."""
        with self._database.read() as connection:
            row = connection.execute(select(leases).where(leases.c.name == NAME)).one_or_none()
        return None if row is None else _lease(row)

    def take(self, holder: str, holder_name: str, for_s: float, address: LeaderAddress = NOWHERE) -> Lease | None:
        """The lease under a new token, when it has ended or was this holder's; None: it is another's for now.
        `address`: where the holder is followed, once it listens there."""
        mine = {"holder": holder, "holder_name": holder_name, "address": asdict(address)}
        is_free = (leases.c.until <= func.clock_timestamp()) | (leases.c.holder == holder)
        with self._database.read() as connection:  # asking locks nothing
            free = connection.execute(select(is_free).where(leases.c.name == NAME)).scalar_one_or_none()
        if free is False:
            return None
        first = postgresql.insert(leases).values(name=NAME, token=0, until=func.to_timestamp(0), **mine)
        taking = (
            update(leases)
            .where(leases.c.name == NAME, is_free)
            .values(token=func.greatest(leases.c.token + 1, _NOW_MS), until=_in(for_s), **mine)
            .returning(leases)
        )
        with self._database.write() as connection:
            connection.execute(first.on_conflict_do_nothing())
            row = connection.execute(taking).one_or_none()
        return None if row is None else _lease(row)

    def count(self) -> int:
        """A token higher than all before it, for the one server of a database that knows no leases."""
        with self._database.write() as connection:
            return count_change(connection, COUNTER)

    def renew(self, token: int, for_s: float) -> bool:
        """Has the lease of that token end so long from now; False: another holds it.

        One that has ended, and that nobody has taken, goes on.
        """
        renewal = update(leases).where(leases.c.name == NAME, leases.c.token == token).values(until=_in(for_s))
        with self._database.write() as connection:
            return connection.execute(renewal).rowcount > 0

    def release(self, token: int) -> None:
        """Ends the lease of that token now. Idempotent."""
        self.renew(token, 0.0)


def check_leader(connection: Connection, token: int) -> None:
    """Nobody else leads until the transaction of this connection has ended. Raises LeaseLost when another does."""
    found = connection.execute(_CHECK, {"name": NAME, "stalled_ms": str(STALLED_MS)}).one_or_none()
    if found is None or found.token != token:
        raise LeaseLost()


def _in(for_s: float) -> ColumnElement[object]:
    """So long from now, by the clock, not by when the transaction began: it may have waited."""
    return func.clock_timestamp() + literal(timedelta(seconds=for_s))


def _lease(row: Row[Any]) -> Lease:
    return Lease(
        row.token, row.holder, row.holder_name, row.until, LeaderAddress(**row.address) if row.address else NOWHERE
    )
