"""Models of the hub that only some accounts may use, and which: what the hub said of them, and what the operator did.

A model's key is its id in lower case, since the hub takes an id in any case.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import delete, select

from modelyard.store.database import Database, insert_into
from modelyard.store.tables import model_grants, restricted_models


def model_key(model_id: str) -> str:
    """The key of a model."""
    return model_id.lower()


class Grants:
    """Restrictions and the exceptions to them. A grant may be made before its model is known."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def restrict(self, model_id: str) -> None:
        """Notes that not everybody may use the model. Idempotent."""
        with self._database.write() as connection:
            statement = insert_into(connection, restricted_models).values(model_key=model_key(model_id))
            connection.execute(statement.on_conflict_do_nothing())

    def open(self, model_id: str) -> None:
        """Notes that everybody may use the model. Idempotent."""
        with self._database.write() as connection:
            connection.execute(delete(restricted_models).where(restricted_models.c.model_key == model_key(model_id)))

    def list_restricted(self) -> Collection[str]:
        """The keys of all models that not everybody may use."""
        with self._database.read() as connection:
            return set(connection.scalars(select(restricted_models.c.model_key)))

    def grant(self, model_id: str, account_id: str) -> None:
        """Lets an account use the model. Idempotent. Raises NotFound when there is no such account."""
        with self._database.write() as connection:
            statement = insert_into(connection, model_grants)
            values = {"model_key": model_key(model_id), "account_id": account_id}
            connection.execute(statement.values(values).on_conflict_do_nothing())

    def revoke(self, model_id: str, account_id: str) -> bool:
        """Takes that back; False when there was no such grant."""
        named = (model_grants.c.model_key == model_key(model_id)) & (model_grants.c.account_id == account_id)
        with self._database.write() as connection:
            return connection.execute(delete(model_grants).where(named)).rowcount > 0

    def list_granted(self) -> Mapping[str, Sequence[str]]:
        """Model key → the ids of the accounts that may use it, both in order."""
        order = model_grants.c.model_key, model_grants.c.account_id
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for key, account_id in connection.execute(select(*order).order_by(*order)):
                found.setdefault(key, []).append(account_id)
        return found
