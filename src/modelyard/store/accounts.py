"""Accounts: who owns keys, clusters and bills. Their names are unique."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, select

from modelyard.errors import InvalidRequest, NotFound
from modelyard.store.database import Database, insert_into
from modelyard.store.ids import new_id
from modelyard.store.tables import accounts
from modelyard.types import Account


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
            raise NotFound(f"No account has the id {account_id}.")
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


def _account(row: Row[tuple[object, ...]]) -> Account:
    return Account(**row._mapping)
