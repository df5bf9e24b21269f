"""What is new of an account's clusters: lines of their logs, and how they stand. For one listener, who asks again and
again. Owns what that listener was told; reads the database only when there are new lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from msgspec import structs

from modelyard.control.clusters import Report
from modelyard.control.plane import Plane
from modelyard.gateway.event_streams import message
from modelyard.gateway.shapes.clusters import (
    Cluster,
    GoneAccountCluster,
    GoneCluster,
    show_account_cluster,
    show_cluster,
    show_events,
    show_replicas,
)
from modelyard.records.clusters import Event

LINES_AT_ONCE = 500


class ClusterWatch:
    """Of all of an account's clusters, or of one model's, whose replicas are then told too."""

    def __init__(
        self,
        plane: Plane,
        account_id: str,
        model_id: str | None,
        *,
        after: int | None,
        last: int,
        account_name: str | None = None,
    ) -> None:
        """`after`: the line after which its listener goes on; None: it begins with the `last` lines. `account_name`:
        where it is the operator who listens, to whom each cluster says whose it is."""
        self._plane = plane
        self._account_id = account_id
        self._account_name = account_name
        self._model_id = model_id
        self._after = after
        self._last = last
        self._written: int | None = None
        """How many lines there were when all of them were told."""
        self._told: dict[str, Cluster] = {}
        self._is_first = True

    async def look(self) -> Sequence[bytes]:
        """What is new since the last call; all there is with the first one, which ends with `known`. Raises
        Unavailable."""
        known = [message("known", {})] if self._is_first else []
        self._is_first = False
        return [*await self._lines(), *await self._clusters(), *known]

    async def _lines(self) -> Sequence[bytes]:
        written = self._plane.events_written
        if written == self._written:
            return ()
        found = await self._read()
        is_all = len(found) < LINES_AT_ONCE
        self._written = written if is_all else None
        return [message("log", line, line.id) for line in show_events(found)]

    async def _read(self) -> Sequence[Event]:
        after, limit = self._after, LINES_AT_ONCE
        if after is None:
            limit = max(1, self._last)
        found = await self._plane.events(self._account_id, self._model_id, after=after, limit=limit)
        if found:
            self._after = found[-1].id
        elif after is None:
            self._after = 0
        return found if after is not None or self._last else ()

    async def _clusters(self) -> Sequence[bytes]:
        reports = {report.cluster.model_id: report for report in await self._reports()}
        gone = self._told.keys() - reports.keys()
        for model_id in gone:
            del self._told[model_id]
        told = [message("gone", self._show_gone(model_id)) for model_id in sorted(gone)]
        return [*told, *[message("cluster", shown) for shown in await self._changed(reports.values())]]

    async def _reports(self) -> Sequence[Report]:
        if self._model_id is None:
            return await self._plane.list(self._account_id)
        found = await self._plane.find(self._account_id, self._model_id)
        return [] if found is None else [found]

    async def _changed(self, reports: Collection[Report]) -> Sequence[Cluster]:
        changed = []
        for report in reports:
            shown = self._show(report)
            if self._model_id is not None:
                uses = await self._plane.find_replicas(self._account_id, self._model_id)
                shown = structs.replace(shown, replicas=show_replicas(uses))
            if not is_same(shown, self._told.get(shown.model_id)):
                self._told[shown.model_id] = shown
                changed.append(shown)
        return changed

    def _show(self, report: Report) -> Cluster:
        return show_cluster(report) if self._account_name is None else show_account_cluster(report, self._account_name)

    def _show_gone(self, model_id: str) -> GoneCluster:
        if self._account_name is None:
            return GoneCluster(model_id=model_id)
        return GoneAccountCluster(model_id=model_id, account=self._account_name, account_id=self._account_id)


def is_same(one: Cluster, other: Cluster | None) -> bool:
    """Whether nothing has changed but when it expires, which is reckoned anew each time, a millisecond off."""
    return other is not None and structs.replace(one, expires_at=other.expires_at) == other
