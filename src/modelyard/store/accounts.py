"""Accounts: who owns keys, clusters and bills, and what each may have. Their names are unique."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Unpack

from sqlalchemy import Row, or_, select, update

from modelyard.errors import InvalidRequest, NotFound
from modelyard.records.accounts import Account, AccountLimits
from modelyard.store.database import Database, insert_into
from modelyard.store.ids import new_id
from modelyard.store.tables import accounts

MOST_CREDIT_NANO = 9 * 10**18
"""What a signed column of 64 bits holds, rounded down: nine billion US dollars."""


class Accounts:
    """The accounts of this installation. Nothing deletes one: its ledger must keep an owner."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, now: datetime) -> Account:
        """A new account. Raises InvalidRequest when the name is taken."""
        if (made := self._insert(name, now)) is None:
            raise InvalidRequest(field="name", got=name, accepted="a name no other account has")
        return made

    def ensure(self, name: str, now: datetime) -> Account:
        """The account of that name, made when there is none. Idempotent, also between processes."""
        return self.find_by_name(name) or self._insert(name, now) or self._get_by_name(name)

    def get(self, account_id: str) -> Account:
        """Raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.id == account_id)).one_or_none()
        if row is None:
            raise _unknown(account_id)
        return _account(row)

    def find_by_name(self, name: str) -> Account | None:
        with self._database.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.name == name)).one_or_none()
        return None if row is None else _account(row)

    def list(self) -> Sequence[Account]:
        """All of them, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.id))
            return [_account(row) for row in rows]

    def list_with_quota(self) -> Sequence[Account]:
        """Those that may not have as many instances, bytes, requests or models as they like, or have a weight; in no
        order."""
        columns = (
            accounts.c.max_instances,
            accounts.c.max_memory_bytes,
            accounts.c.max_concurrent,
            accounts.c.max_models,
            accounts.c.max_disk_bytes,
            accounts.c.weight,
        )
        limited = or_(*(column.is_not(None) for column in columns))
        with self._database.read() as connection:
            return [_account(row) for row in connection.execute(select(accounts).where(limited))]

    def set_limits(self, account_id: str, **limits: Unpack[AccountLimits]) -> Account:
        """Changes the limits that are named, and only those; None lifts one. Raises NotFound, InvalidRequest."""
        for name, value in limits.items():
            if isinstance(value, int) and value < 0:
                raise InvalidRequest(field=name, got=value, accepted="0 or more")
        if not limits:
            return self.get(account_id)
        statement = update(accounts).where(accounts.c.id == account_id).values(**limits).returning(accounts)
        with self._database.write() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            raise _unknown(account_id)
        return _account(row)

    def add_credit(self, account_id: str, amount_nano: int) -> Account:
        """Adds to what was paid in advance, or takes from it; an account that had none begins at 0. Atomic.

        Raises NotFound, InvalidRequest for a sum that cannot be stored.
        """
        named = accounts.c.id == account_id
        with self._database.write() as connection:
            row = connection.execute(select(accounts.c.credit_nano).where(named).with_for_update()).one_or_none()
            if row is None:
                raise _unknown(account_id)
            total = (row.credit_nano or 0) + amount_nano
            if abs(total) > MOST_CREDIT_NANO:
                raise InvalidRequest(
                    field="credit", got=total, accepted=f"at most {MOST_CREDIT_NANO} billionths of a US dollar in all"
                )
            changed = update(accounts).where(named).values(credit_nano=total).returning(accounts)
            return _account(connection.execute(changed).one())

    def list_funded(self) -> Sequence[Account]:
        """Those with a credit or a monthly limit."""
        is_funded = accounts.c.credit_nano.is_not(None) | accounts.c.monthly_limit_nano.is_not(None)
        with self._database.read() as connection:
            return [_account(row) for row in connection.execute(select(accounts).where(is_funded))]

    def _insert(self, name: str, now: datetime) -> Account | None:
        with self._database.write() as connection:
            statement = (
                insert_into(connection, accounts)
                .values(id=new_id("account"), name=name, created_at=now)
                .on_conflict_do_nothing(index_elements=["name"])
                .returning(accounts)
            )
            row = connection.execute(statement).one_or_none()
        return None if row is None else _account(row)

    def _get_by_name(self, name: str) -> Account:
        if (found := self.find_by_name(name)) is None:
            raise NotFound(f"No account has the name {name}.")
        return found


def _unknown(account_id: str) -> NotFound:
    return NotFound(f"No account has the id {account_id}.")


def _account(row: Row[tuple[object, ...]]) -> Account:
    return Account(**row._mapping)
