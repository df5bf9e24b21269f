"""What has been learnt of each model by running it: measured memory first of all, then whatever facts came up.

Measurements only; what the files say of a model is the catalogue's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select, update

from modelyard.errors import NotFound
from modelyard.store.database import Database, insert_into
from modelyard.store.tables import models


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The latest measurement of a model. `facts` is plain JSON, such as `{"task": "fill-mask", "load_ms": 412}`."""

    model_id: str
    memory_bytes: int
    updated_at: datetime
    facts: Mapping[str, Any] = field(default_factory=dict)


class Models:
    """One row for each model that was ever measured."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, model_id: str, *, memory_bytes: int, measured_at: datetime, **facts: Any) -> ModelFacts:
        """Records a measurement; what is known then.

        Facts are merged by name: those given replace their namesakes, a None forgets one, the others stay. Two
        processes that put different facts at once lose neither.
        """
        with self._database.write() as connection:
            fresh = {"model_id": model_id, "memory_bytes": memory_bytes, "facts": {}, "updated_at": measured_at}
            connection.execute(
                insert_into(connection, models).values(fresh).on_conflict_do_nothing(index_elements=["model_id"])
            )
            # The row is there now, and locked until the end: on SQLite by the transaction, on PostgreSQL by this.
            is_it = models.c.model_id == model_id
            known = connection.scalars(select(models.c.facts).where(is_it).with_for_update()).one()
            merged = {name: value for name, value in {**known, **facts}.items() if value is not None}
            statement = update(models).where(is_it).returning(models)
            changed = statement.values(memory_bytes=memory_bytes, updated_at=measured_at, facts=merged)
            return _facts(connection.execute(changed).one())

    def find(self, model_id: str) -> ModelFacts | None:
        return self.get_many([model_id]).get(model_id)

    def get(self, model_id: str) -> ModelFacts:
        """Raises NotFound when the model was never measured."""
        if (found := self.find(model_id)) is None:
            raise NotFound(f"{model_id} has not been measured yet.")
        return found

    def get_many(self, model_ids: Collection[str]) -> Mapping[str, ModelFacts]:
        """By model id, those of them that were measured. Up to 30,000 ids."""
        with self._database.read() as connection:
            rows = connection.execute(select(models).where(models.c.model_id.in_(model_ids)))
            return {row.model_id: _facts(row) for row in rows}

    def list(self, limit: int = 100, after: str | None = None) -> Sequence[ModelFacts]:
        """At most `limit`, in order of model id, from the one that follows `after`."""
        statement = select(models).order_by(models.c.model_id).limit(limit)
        if after is not None:
            statement = statement.where(models.c.model_id > after)
        with self._database.read() as connection:
            return [_facts(row) for row in connection.execute(statement)]


def _facts(row: Row[tuple[object, ...]]) -> ModelFacts:
    return ModelFacts(model_id=row.model_id, memory_bytes=row.memory_bytes, updated_at=row.updated_at, facts=row.facts)
