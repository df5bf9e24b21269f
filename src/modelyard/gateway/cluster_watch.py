"""How clusters stand, for one listener, who asks again and again. Owns what that listener was told; reads the database
only for the names of accounts that it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic

from msgspec import structs

from modelyard.control.clusters import Report
from modelyard.control.pauses import with_pauses
from modelyard.control.plane import Plane
from modelyard.control.states import ClusterStatus
from modelyard.gateway.event_streams import message
from modelyard.gateway.shapes.clusters import (
    AccountCluster,
    Cluster,
    GoneAccountCluster,
    GoneCluster,
    show_account_cluster,
    show_cluster,
    show_replicas,
)
from modelyard.records import clusters as records

LOOK_AT_ALL_S = 10.0
"""How late it is told what becomes of a cluster that is at rest and was not changed, such as that its account has no
funds."""
LOOKED_AT_ONCE = 50
"""Clusters after which requests come first again: about half a millisecond, and as much where they are told."""
AT_REST = frozenset({ClusterStatus.STOPPED, ClusterStatus.FAILED})
"""The statuses that a cluster keeps until something happens to it."""


class ClusterWatch:
    """Of an account's clusters or of those of all accounts, of one model or of any; of an account's cluster of one
    model its replicas are told, too."""

    def __init__(
        self,
        plane: Plane,
        account_id: str | None,
        model_id: str | None,
        read_names: Callable[[], Mapping[str, str]] | None = None,
    ) -> None:
        """`account_id`: None: of all. `read_names`: the accounts' names by their ids, where it is the operator who
        listens, to whom each cluster says whose it is. Blocking."""
        self._plane = plane
        self._account_id = account_id
        self._model_id = model_id
        self._read_names = read_names
        self._names: Mapping[str, str] = {}
        self._told: dict[str, Cluster] = {}
        """By the clusters' ids."""
        self._seen: dict[str, records.Cluster] = {}
        """What was wanted at the last look, by the clusters' ids."""
        self._moving: Collection[str] = ()
        """Those whose status, as it was told, soon becomes another, be it between two looks: by their ids."""
        self._looked_at_all: float | None = None

    async def look(self) -> Sequence[bytes]:
        """Each cluster that has changed since the last call; all there are with the first one, which ends with `known`.
        Raises Unavailable."""
        is_first = self._looked_at_all is None
        candidates, gone = await self._candidates(monotonic())
        ended = [told for each in gone if (told := self._told.pop(each, None)) is not None]
        return [
            *(message("gone", show_gone(each)) for each in ended),
            *await self._changed(candidates),
            *([message("known", {})] if is_first else []),
        ]

    async def _candidates(self, now: float) -> tuple[Sequence[records.Cluster], Sequence[str]]:
        """Those that may not be as they were, and the ids of those that are no more: asking each of ten thousand at
        rest twice a second takes a fifth of a core."""
        is_due = self._looked_at_all is None or now >= self._looked_at_all + LOOK_AT_ALL_S
        if is_due:
            self._looked_at_all = now
        active, moving, seen = self._plane.active(), self._moving, self._seen
        found: list[records.Cluster] = []
        wanted: set[str] = set()
        async for some in self._plane.wanted_in_pieces(self._account_id, self._model_id):
            wanted.update(each.id for each in some)
            new = [e for e in some if is_due or e.id in active or e.id in moving or e is not seen.get(e.id)]
            seen.update((each.id, each) for each in new)
            found += new
        gone = [each for each in seen if each not in wanted]
        for each in gone:
            del seen[each]
        return found, gone

    async def _changed(self, candidates: Sequence[records.Cluster]) -> Sequence[bytes]:
        if self._read_names is not None and any(each.account_id not in self._names for each in candidates):
            self._names = await asyncio.to_thread(self._read_names)
        changed, moving = [], set()
        async for each in with_pauses(candidates, LOOKED_AT_ONCE):
            report = await self._plane.find(each.account_id, each.model_id)
            if report is not None:  # else it was deleted meanwhile
                shown = await self._show(report)
                if not is_same(shown, self._told.get(each.id)):
                    self._told[each.id] = shown
                    changed.append(message("cluster", shown))
                if shown.status not in AT_REST:
                    moving.add(each.id)
        self._moving = moving
        return changed

    async def _show(self, report: Report) -> Cluster:
        account_id, model_id = report.cluster.account_id, report.cluster.model_id
        if self._read_names is None:
            shown = show_cluster(report)
        else:
            shown = show_account_cluster(report, self._names[account_id])
        if self._account_id is None or self._model_id is None:
            return shown
        return structs.replace(shown, replicas=show_replicas(await self._plane.find_replicas(account_id, model_id)))


def is_same(one: Cluster, other: Cluster | None) -> bool:
    """Whether nothing has changed but when it expires, which is reckoned anew each time, a millisecond off."""
    return other is not None and structs.replace(one, expires_at=other.expires_at) == other


def show_gone(cluster: Cluster) -> GoneCluster:
    """What is told of a cluster that is no more."""
    if isinstance(cluster, AccountCluster):
        return GoneAccountCluster(model_id=cluster.model_id, account=cluster.account, account_id=cluster.account_id)
    return GoneCluster(model_id=cluster.model_id)
