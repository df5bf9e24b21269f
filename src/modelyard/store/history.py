"""The history that charts show: a row for each minute in which there was something, and of these one for each hour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Generic

from msgspec.structs import asdict
from sqlalchemy import Connection, Table, delete, func, select

from modelyard.records.history import HOUR_S, MINUTE_S, ClusterPoint, NodePoint, P, begin_of, roll_up
from modelyard.store.database import Database, insert_into
from modelyard.store.tables import cluster_history, node_history

KEPT = {MINUTE_S: timedelta(hours=25), HOUR_S: timedelta(days=40)}
"""By step, for how long: the last day in minutes, with an hour to spare for who rolls it up; a month in hours."""

ROWS_AT_ONCE = 500
"""In one call of the driver: what ten thousand at once are made of, a collection of garbage would all go through."""


class History:
    """Points in the past, of clusters and of machines. Two points of one owner and minute become one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._clusters = Points(cluster_history, ClusterPoint)
        self._nodes = Points(node_history, NodePoint)

    def add(self, clusters: Sequence[ClusterPoint], nodes: Sequence[NodePoint]) -> None:
        """Adds points of minutes, all or none."""
        with self._database.write() as connection:
            self._clusters.add(connection, clusters, MINUTE_S)
            self._nodes.add(connection, nodes, MINUTE_S)

    def roll_up(self, now: datetime) -> None:
        """Makes the points of every hour that has ended and has none yet. Idempotent."""
        with self._database.write() as connection:
            self._clusters.roll_up(connection, now)
            self._nodes.roll_up(connection, now)

    def list_clusters(
        self, account_id: str, model_id: str, step_s: int, since: datetime, now: datetime
    ) -> Sequence[ClusterPoint]:
        """One cluster's, oldest first. `step_s`: of the points, MINUTE_S or HOUR_S. Hours are those that have ended by
        `now`, rolled up or not."""
        with self._database.read() as connection:
            return self._clusters.find(connection, step_s, since, now, account_id=account_id, model_id=model_id)

    def list_nodes(self, step_s: int, since: datetime, now: datetime) -> Sequence[NodePoint]:
        """Every machine's, by machine and accelerator, then oldest first; steps as those of clusters."""
        with self._database.read() as connection:
            return self._nodes.find(connection, step_s, since, now)

    def prune(self, now: datetime, limit: int) -> int:
        """Deletes what has been kept long enough, the oldest first, about `limit` rows of each kind; how many."""
        deleted = 0
        with self._database.write() as connection:
            for points in (self._clusters, self._nodes):
                for step_s, kept in KEPT.items():
                    deleted += points.prune(connection, step_s, now - kept, limit)
        return deleted


@dataclass(frozen=True, slots=True)
class Points(Generic[P]):
    """The points of one kind, in their table."""

    table: Table
    kind: type[P]

    def add(self, connection: Connection, points: Sequence[P], step_s: int) -> None:
        """Adds points; where there is one already, another server led in the same step: it becomes both."""
        if not points:
            return
        there = {(point.key, point.at): point for point in self.between(connection, step_s, min(p.at for p in points))}
        merged = {(point.key, point.at): point for point in points}
        for key in merged.keys() & there.keys():
            merged[key] = there[key].merge(merged[key])
        owner = [column.name for column in self.table.primary_key]
        insertion = insert_into(connection, self.table)
        values = {name: insertion.excluded[name] for name in self.table.c.keys() if name not in owner}  # noqa: SIM118
        statement = insertion.on_conflict_do_update(index_elements=owner, set_=values)
        rows = ({**asdict(point), "step_s": step_s} for point in merged.values())
        while some := list(islice(rows, ROWS_AT_ONCE)):
            connection.execute(statement, some)

    def roll_up(self, connection: Connection, now: datetime) -> None:
        """See History."""
        table = self.table
        newest: datetime | None = connection.scalar(select(func.max(table.c.at)).where(table.c.step_s == HOUR_S))
        self.add(connection, self._hours_after(connection, newest, now), HOUR_S)

    def find(self, connection: Connection, step_s: int, since: datetime, now: datetime, **owner: str) -> Sequence[P]:
        """See History."""
        points = self.between(connection, step_s, since, None, **owner)
        if step_s == HOUR_S:
            newest = max((point.at for point in points), default=None)
            points += [hour for hour in self._hours_after(connection, newest, now, **owner) if hour.at >= since]
        return sorted(points, key=lambda point: (point.key, point.at))

    def _hours_after(self, connection: Connection, newest: datetime | None, now: datetime, **owner: str) -> Sequence[P]:
        """Those that have ended by `now`, made of minutes; None: all of which there are minutes."""
        since, until = begin_of(now - KEPT[MINUTE_S], HOUR_S), begin_of(now, HOUR_S)
        if newest is not None:
            since = max(since, newest + timedelta(seconds=HOUR_S))
        return roll_up(self.between(connection, MINUTE_S, since, until, **owner), HOUR_S) if since < until else []

    def between(
        self, connection: Connection, step_s: int, since: datetime, until: datetime | None = None, **owner: str
    ) -> list[P]:
        """Those of a step, from `since` on and before `until`."""
        table = self.table
        statement = select(table).where(table.c.step_s == step_s, table.c.at >= since).order_by(*table.primary_key)
        if until is not None:
            statement = statement.where(table.c.at < until)
        for name, value in owner.items():
            statement = statement.where(table.c[name] == value)
        return [self._point(row._mapping) for row in connection.execute(statement)]

    def prune(self, connection: Connection, step_s: int, before: datetime, limit: int) -> int:
        """Deletes the oldest from before `before`: up to the moment of the `limit`th, or all; how many."""
        table = self.table
        old = (table.c.step_s == step_s, table.c.at < before)
        last = connection.scalar(select(table.c.at).where(*old).order_by(table.c.at).offset(limit - 1).limit(1))
        doomed = (table.c.step_s == step_s, table.c.at <= last) if last is not None else old
        return connection.execute(delete(table).where(*doomed)).rowcount

    def _point(self, row: Any) -> P:
        values: dict[str, Any] = {}
        for name in self.kind.__struct_fields__:
            value = row[name]
            values[name] = tuple(value) if isinstance(value, list) else value
        return self.kind(**values)
