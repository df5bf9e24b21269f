"""API keys, by their hash: the key itself never comes here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Row, or_, select, update

from modelyard.errors import InvalidRequest, NotFound
from modelyard.records.accounts import Key
from modelyard.store.database import Database, insert_into
from modelyard.store.ids import new_id
from modelyard.store.tables import keys


class Keys:
    """The keys of every account. A revoked key stays, to be listed; it is never found again and never comes back."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        account_id: str,
        name: str,
        key_hash: str,
        prefix: str,
        now: datetime,
        *,
        rate_limit: int | None = None,
    ) -> Key:
        """A new key. Raises NotFound when there is no such account, InvalidRequest when the hash is stored already."""
        if (made := self._insert(account_id, name, key_hash, prefix, now, rate_limit)) is None:
            raise InvalidRequest(field="key", got=prefix, accepted="a key that was not given out before")
        return made

    def ensure(self, account_id: str, name: str, key_hash: str, prefix: str, now: datetime) -> Key:
        """The key with that hash as it is stored, made when there is none. Idempotent, also between processes.

        A revoked one stays revoked and is returned so (`revoked_at`): setting the same key again does not revive it.
        """
        return (
            self._find(key_hash) or self._insert(account_id, name, key_hash, prefix, now) or self._get_by_hash(key_hash)
        )

    def find_by_hash(self, key_hash: str) -> Key | None:
        """The live key with that hash; None for an unknown or revoked one."""
        found = self._find(key_hash)
        return found if found is not None and found.revoked_at is None else None

    def find_live_with_hash(self, key_id: str) -> tuple[Key, str] | None:
        """The live key with that id, and its hash; None for an unknown or revoked one."""
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.id == key_id, keys.c.revoked_at.is_(None))).one_or_none()
        return None if row is None else (_key(row), row.key_hash)

    def find_live(self, id_or_prefix: str) -> Key | None:
        """The live key that has this id or, alone, this exact prefix. Raises InvalidRequest where several have it."""
        named = or_(keys.c.id == id_or_prefix, keys.c.prefix == id_or_prefix)
        with self._database.read() as connection:
            found = [_key(row) for row in connection.execute(select(keys).where(named, keys.c.revoked_at.is_(None)))]
        if len(found) > 1:
            raise _ambiguous(id_or_prefix, [key.id for key in found])
        return found[0] if found else None

    def is_known(self, key_hash: str) -> bool:
        """Whether there is or was a key with that hash."""
        return self._find(key_hash) is not None

    def list(self, account_id: str | None = None) -> Sequence[Key]:
        """The keys of one account, or of all, oldest first; revoked ones included."""
        statement = select(keys).order_by(keys.c.created_at, keys.c.id)
        if account_id is not None:
            statement = statement.where(keys.c.account_id == account_id)
        with self._database.read() as connection:
            return [_key(row) for row in connection.execute(statement)]

    def revoke(self, id_or_prefix: str, now: datetime) -> bool:
        """Ends a live key, named by its id or its exact prefix; False when no live key has it. Idempotent.

        Raises InvalidRequest, and revokes nothing, when several live keys share the prefix.
        """
        return self._change(id_or_prefix, revoked_at=now)

    def set_rate_limit(self, id_or_prefix: str, rate_limit: int | None) -> bool:
        """Sets how many requests a minute a live key may make, as `Key` explains it; False when no live key has it.

        Named as in `revoke`. Raises InvalidRequest as that does, and for a number below 0.
        """
        if rate_limit is not None and rate_limit < 0:
            raise InvalidRequest(field="rate_limit", got=rate_limit, accepted="0 (no limit) or more")
        return self._change(id_or_prefix, rate_limit=rate_limit)

    def _change(self, id_or_prefix: str, **values: object) -> bool:
        """Changes the one live key that has this id or prefix, if there is one."""
        named = or_(keys.c.id == id_or_prefix, keys.c.prefix == id_or_prefix)
        live = select(keys.c.id).where(named, keys.c.revoked_at.is_(None)).with_for_update()
        with self._database.write() as connection:
            ids = connection.scalars(live).all()
            if len(ids) > 1:
                raise _ambiguous(id_or_prefix, ids)
            connection.execute(update(keys).where(keys.c.id.in_(ids)).values(**values))
        return bool(ids)

    def _find(self, key_hash: str) -> Key | None:
        with self._database.read() as connection:
            row = connection.execute(select(keys).where(keys.c.key_hash == key_hash)).one_or_none()
        return None if row is None else _key(row)

    def _get_by_hash(self, key_hash: str) -> Key:
        if (found := self._find(key_hash)) is None:
            raise NotFound("No such key.")
        return found

    def _insert(
        self,
        account_id: str,
        name: str,
        key_hash: str,
        prefix: str,
        now: datetime,
        rate_limit: int | None = None,
    ) -> Key | None:
        with self._database.write() as connection:
            statement = (
                insert_into(connection, keys)
                .values(
                    id=new_id("key"),
                    account_id=account_id,
                    name=name,
                    key_hash=key_hash,
                    prefix=prefix,
                    created_at=now,
                    rate_limit=rate_limit,
                )
                .on_conflict_do_nothing(index_elements=["key_hash"])
                .returning(keys)
            )
            row = connection.execute(statement).one_or_none()
        return None if row is None else _key(row)


def _ambiguous(id_or_prefix: str, ids: Sequence[str]) -> InvalidRequest:
    return InvalidRequest(field="key", got=id_or_prefix, accepted=f"one of the ids {', '.join(sorted(ids))}")


def _key(row: Row[tuple[object, ...]]) -> Key:
    return Key(
        id=row.id,
        account_id=row.account_id,
        name=row.name,
        prefix=row.prefix,
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        rate_limit=row.rate_limit,
    )
