"""Stored responses: what an account may go on from, within a number and a size, until they expire."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Row, delete, func, insert, select

from modelyard.records.responses import StoredResponse
from modelyard.store.database import Database
from modelyard.store.tables import responses


class Responses:
    """Rows of one account are seen by that account alone."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, response: StoredResponse, most: int, most_bytes: int) -> int:
        """Stores a response, and deletes the account's oldest beyond `most` of them and `most_bytes` in all; how many.

        The new one stays, whatever its size.
        """
        own = responses.c.account_id == response.account_id
        totals = select(func.count(), func.coalesce(func.sum(responses.c.size_bytes), 0)).where(own)
        with self._database.write() as connection:
            connection.execute(
                insert(responses).values(
                    id=response.id,
                    account_id=response.account_id,
                    created_at=response.created_at,
                    expires_at=response.expires_at,
                    size_bytes=len(response.data),
                    data=response.data,
                )
            )
            count, size_bytes = connection.execute(totals).one()
            if count <= most and size_bytes <= most_bytes:
                return 0
            doomed = []
            oldest = select(responses.c.id, responses.c.size_bytes).where(own, responses.c.id != response.id)
            for row in connection.execute(oldest.order_by(responses.c.created_at, responses.c.id)):
                if count <= most and size_bytes <= most_bytes:
                    break
                doomed.append(row.id)
                count, size_bytes = count - 1, size_bytes - row.size_bytes
            return connection.execute(delete(responses).where(responses.c.id.in_(doomed))).rowcount

    def find(self, account_id: str, response_id: str, now: datetime) -> StoredResponse | None:
        """One of an account's that has not expired by `now`."""
        named = (responses.c.account_id == account_id) & (responses.c.id == response_id)
        with self._database.read() as connection:
            row = connection.execute(select(responses).where(named, responses.c.expires_at > now)).one_or_none()
        return None if row is None else _response(row)

    def remove(self, account_id: str, response_id: str, now: datetime) -> bool:
        """Deletes one of an account's; False when there was none that had not expired."""
        named = (responses.c.account_id == account_id) & (responses.c.id == response_id)
        with self._database.write() as connection:
            return connection.execute(delete(responses).where(named, responses.c.expires_at > now)).rowcount > 0

    def prune(self, now: datetime, limit: int) -> int:
        """Deletes those that have expired, the oldest first, `limit` at most; how many."""
        expired = select(responses.c.id).where(responses.c.expires_at <= now).order_by(responses.c.expires_at)
        with self._database.write() as connection:
            ids = connection.scalars(expired.limit(limit)).all()
            return connection.execute(delete(responses).where(responses.c.id.in_(ids))).rowcount if ids else 0


def _response(row: Row[tuple[object, ...]]) -> StoredResponse:
    return StoredResponse(row.id, row.account_id, row.created_at, row.expires_at, row.data)
