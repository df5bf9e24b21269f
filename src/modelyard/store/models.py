"""The catalogue as it lasts: a row for each model that is known, whoever said so, and what was measured of it.

Owns what becomes of a measurement when files change. Whose word wins otherwise is for the callers to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, func, select, update

from modelyard.records.models import Form, Listing, Measurement, Source
from modelyard.store.database import Database, insert_into
from modelyard.store.tables import models

MEASURED = "measured"
PUBLISHED = "published"
REQUESTED = "requested"
ELSEWHERE = (PUBLISHED, Source.PROVIDER)
"""The sources of models that were never here; measured by others, or run by them."""
COLUMNS = [models.c[each.name] for each in fields(Listing)]
CHUNK = 1000
"""Rows in one transaction: a writer with many must not keep the others waiting."""


class Models:
    """One row for each model. Lists are in order of model id, by code point."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, listings: Collection[Listing]) -> None:
        """Records what files say of models, at most one listing for each.

        What was measured stays while the weights are as large as they were, or nobody knows: the memory, and the facts
        beside those given. Otherwise everything known before is replaced.
        """
        for chunk in _chunks(sorted(listings, key=lambda listing: listing.model_id)):
            with self._database.write() as connection:
                made = _insert_absent(connection, chunk)
                fresh = {listing.model_id: listing for listing in chunk if listing.model_id not in made}
                known = _lock(connection, fresh)
                _update(connection, [_refreshed(known[model_id], listing) for model_id, listing in fresh.items()])

    def publish(self, listings: Collection[Listing]) -> None:
        """Adds those models that are not known yet; leaves the others as they are."""
        for chunk in _chunks(sorted(listings, key=lambda listing: listing.model_id)):
            with self._database.write() as connection:
                _insert_absent(connection, chunk)

    def measure(self, model_id: str, *, memory_bytes: int, measured_at: datetime, **facts: Any) -> Listing:
        """Records a measurement; what is known then. A model nobody knows yet becomes a requested one.

        Facts are merged by name: those given replace their namesakes, a None forgets one, the others stay. Two
        processes that measure different facts at once lose neither.
        """
        with self._database.write() as connection:
            known = _ensure(connection, model_id, measured_at)
            return _measured(connection, known, memory_bytes, measured_at, facts)

    def remove(self, model_ids: Collection[str], *, source: str | None = None) -> None:
        """Forgets these models, their measurements too. Passes over those not there, and those of another `source`."""
        for chunk in _chunks(sorted(model_ids)):
            statement = delete(models).where(models.c.model_id.in_(chunk))
            with self._database.write() as connection:
                connection.execute(statement if source is None else statement.where(models.c.source == source))

    def find(self, model_id: str) -> Listing | None:
        return self.get_many([model_id]).get(model_id)

    def find_in_any_case(self, model_id: str) -> str | None:
        """The id of a model that is known under this name, in whichever case; looks through all of them."""
        statement = select(models.c.model_id).where(func.lower(models.c.model_id) == model_id.lower()).limit(1)
        with self._database.read() as connection:
            return connection.execute(statement).scalar_one_or_none()

    def get_many(self, model_ids: Collection[str]) -> Mapping[str, Listing]:
        """By model id, those of them that are known."""
        with self._database.read() as connection:
            found = [
                _listing(row)
                for chunk in _chunks(list(model_ids))
                for row in connection.execute(select(*COLUMNS).where(models.c.model_id.in_(chunk)))
            ]
        return {listing.model_id: listing for listing in found}

    def texts_of(self, source: str, fact: str) -> Mapping[str, str | None]:
        """By model id, for every model from one source, one of its facts that is a text; None where there is none."""
        statement = select(models.c.model_id, models.c.facts[fact].as_string()).where(models.c.source == source)
        with self._database.read() as connection:
            return {str(model_id): text for model_id, text in connection.execute(statement)}

    def measured(self) -> Mapping[str, Measurement]:
        """By model id, every measurement there is."""
        statement = select(models.c.model_id, models.c.memory_bytes, models.c.facts).where(
            models.c.memory_source == MEASURED
        )
        with self._database.read() as connection:
            return {
                row.model_id: Measurement(
                    row.memory_bytes,
                    row.facts.get("weight_bytes"),
                    row.facts.get("max_batch"),
                    row.facts.get("device_bytes", 0),
                    row.facts.get("precision"),
                    read_form(row.facts.get("form")),
                )
                for row in connection.execute(statement)
            }

    def page(
        self,
        *,
        task: str | None = None,
        text: str | None = None,
        variant_of: str | None = None,
        sources: Collection[str] | None = None,
        here: bool | None = None,
        license: str | None = None,
        libraries: Collection[str] | None = None,
        most_bytes: int | None = None,
        servable: bool = False,
        hidden: Collection[str] = (),
        after: str | None = None,
        limit: int,
    ) -> Sequence[Listing]:
        """At most `limit` models, from the one that follows `after`.

        `text`: a part of the id, in any case. `variant_of`: only variants of that model. `sources`: only what came
        from these. `here`: only what is or was on this server, or only what never was. `libraries`: only models of
        these. `most_bytes`: only models that need no more memory, as far as
        that is known. `servable`: none with a refusal. `hidden`: ids in lower case of models of the hub that are left
        out, with their variants.
        """
        conditions = []
        if task is not None:
            conditions.append(models.c.task == task)
        if text:
            conditions.append(self._contains(models.c.model_id, text))
        if variant_of is not None:
            conditions.append(models.c.variant_of == variant_of)
        if sources is not None:
            conditions.append(models.c.source.in_(sources))
        if here is not None:
            conditions.append(models.c.source.not_in(ELSEWHERE) if here else models.c.source.in_(ELSEWHERE))
        if license is not None:
            conditions.append(models.c.license == license)
        if libraries is not None:
            conditions.append(models.c.facts["library"].as_string().in_(libraries))
        if most_bytes is not None:
            conditions.append(models.c.memory_bytes <= most_bytes)
        if servable:
            conditions.append(models.c.refusal.is_(None))
        if hidden:
            hub_id = func.lower(func.coalesce(models.c.variant_of, models.c.model_id))
            is_local = (models.c.source == Source.FOLDER) & models.c.variant_of.is_(None)
            conditions.append(is_local | hub_id.not_in(hidden))
        if after is not None:
            conditions.append(models.c.model_id > after)
        if text:  # ids first: they are in an index, and a search that finds little reads all of it but few rows
            matching = select(models.c.model_id).where(*conditions).order_by(models.c.model_id).limit(limit)
            conditions = [models.c.model_id.in_(matching)]
        statement = select(*COLUMNS).where(*conditions).order_by(models.c.model_id).limit(limit)
        with self._database.read() as connection:
            return [_listing(row) for row in connection.execute(statement)]

    def variants(self, first: str, last: str) -> Mapping[str, Sequence[str]]:
        """By model id, the ids of its variants, for the models from `first` to `last`; none for those without any."""
        in_range = models.c.variant_of >= first, models.c.variant_of <= last
        statement = select(models.c.variant_of, models.c.model_id).where(*in_range)
        found: dict[str, list[str]] = {}
        with self._database.read() as connection:
            for base, variant in connection.execute(statement.order_by(models.c.model_id)):
                found.setdefault(base, []).append(variant)
        return found

    def count(self, sources: Collection[str]) -> int:
        """How many models of these sources can be served. Reads the whole table."""
        is_counted = models.c.source.in_(sources), models.c.refusal.is_(None)
        statement = select(func.count()).select_from(models).where(*is_counted)
        with self._database.read() as connection:
            return connection.execute(statement).scalar_one()

    def _contains(self, column: ColumnElement[str], text: str) -> ColumnElement[bool]:
        """Whether a text of ASCII letters holds another, in any case."""
        if self._database.is_sqlite:  # its LIKE looks at no case, and `icontains` would be twice as slow
            return column.contains(text, autoescape=True)
        return column.icontains(text, autoescape=True)


def read_form(fact: Mapping[str, Any] | None) -> Form | None:
    """The fact `form`, as `measure` was given it."""
    return None if fact is None else Form(fact["variant"], fact["why"], fact.get("threads"))


def _chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def _insert_absent(connection: Connection, listings: Sequence[Listing]) -> set[str]:
    """Adds the rows that are not there; their ids."""
    statement = insert_into(connection, models).on_conflict_do_nothing(index_elements=["model_id"])
    made = connection.scalars(statement.returning(models.c.model_id), [_columns(each) for each in listings])
    return {str(model_id) for model_id in made}


def _lock(connection: Connection, model_ids: Collection[str]) -> Mapping[str, Listing]:
    """The rows, which nobody else changes until the transaction ends: on SQLite because it writes, elsewhere by this.

    In order of id: two processes that lock the same rows in the same order cannot deadlock.
    """
    if not model_ids:
        return {}
    statement = select(*COLUMNS).where(models.c.model_id.in_(model_ids)).order_by(models.c.model_id).with_for_update()
    return {row.model_id: _listing(row) for row in connection.execute(statement)}


def _ensure(connection: Connection, model_id: str, at: datetime) -> Listing:
    """The model's row, made when there is none, and locked."""
    _insert_absent(connection, [Listing(model_id, REQUESTED, at)])
    return _lock(connection, [model_id])[model_id]


def _update(connection: Connection, listings: Sequence[Listing]) -> None:
    if listings:
        names = [column.name for column in models.c if column.name != "model_id"]
        statement = update(models).where(models.c.model_id == bindparam("row_id"))
        rows = [{**_columns(listing), "row_id": listing.model_id} for listing in listings]
        connection.execute(statement.values({name: bindparam(name) for name in names}), rows)


def _measured(
    connection: Connection, known: Listing, memory_bytes: int, at: datetime, facts: Mapping[str, Any]
) -> Listing:
    changed = replace(
        known,
        memory_bytes=memory_bytes,
        memory_source=MEASURED,
        facts=_merged(known.facts, facts),
        updated_at=at,
    )
    _update(connection, [changed])
    return changed


def _refreshed(known: Listing, fresh: Listing) -> Listing:
    """What files say now, with what was measured before where that still holds."""
    if known.memory_source != MEASURED or known.memory_bytes is None:
        return fresh
    measurement = Measurement(
        known.memory_bytes, known.facts.get("weight_bytes"), precision=known.facts.get("precision")
    )
    if not measurement.holds_for(fresh.facts.get("weight_bytes"), fresh.facts.get("precision")):
        return fresh
    return replace(
        fresh, memory_bytes=known.memory_bytes, memory_source=MEASURED, facts=_merged(known.facts, fresh.facts)
    )


def _merged(known: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**known, **fresh}.items() if value is not None}


def _columns(listing: Listing) -> dict[str, Any]:
    return {column.name: getattr(listing, column.name) for column in models.c} | {"facts": dict(listing.facts)}


def _listing(row: Row[tuple[object, ...]]) -> Listing:
    cells: Sequence[Any] = row  # in the order of COLUMNS; by name it takes six times as long, and lists have many
    return Listing(*cells)
