"""How the clusters of all accounts stand, for one listener, who asks again and again. Owns what that listener was told;
reads the database only for the names of accounts that it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic

from modelyard.control.plane import Plane
from modelyard.gateway.cluster_watch import is_same
from modelyard.gateway.event_streams import message
from modelyard.gateway.shapes.clusters import AccountCluster, GoneAccountCluster, show_account_cluster
from modelyard.records.clusters import Cluster

LOOK_AT_ALL_S = 10.0
"""How late it is told what becomes of a cluster that is at rest and was not changed, such as why it was given up."""
LOOKED_AT_ONCE = 50
"""Clusters after which requests come first again: about half a millisecond."""


class AllClustersWatch:
    """Of one model's clusters, or of any."""

    def __init__(self, plane: Plane, read_names: Callable[[], Mapping[str, str]], model_id: str | None) -> None:
        """`read_names`: by the ids of all accounts, their names. Blocking."""
        self._plane = plane
        self._read_names = read_names
        self._model_id = model_id
        self._names: Mapping[str, str] = {}
        self._told: dict[str, AccountCluster] = {}
        self._seen: Mapping[str, Cluster] = {}
        """What was wanted at the last look, by the clusters' ids."""
        self._were_active: Collection[str] = ()
        self._looked_at_all: float | None = None

    async def look(self) -> Sequence[bytes]:
        """Each cluster that has changed since the last call; all there are with the first one, which ends with `known`.
        Raises Unavailable."""
        is_first, now = self._looked_at_all is None, monotonic()
        wanted = {
            cluster_id: cluster
            for cluster_id, cluster in self._plane.all_wanted().items()
            if self._model_id is None or cluster.model_id == self._model_id
        }
        gone = [self._told.pop(cluster_id) for cluster_id in self._told.keys() - wanted.keys()]
        changed = await self._changed(self._candidates(wanted, now))
        return [
            *(message("gone", show_gone(each)) for each in gone),
            *(message("cluster", each) for each in changed),
            *([message("known", {})] if is_first else []),
        ]

    def _candidates(self, wanted: Mapping[str, Cluster], now: float) -> Sequence[Cluster]:
        """Those that may not be as they were: asking each of ten thousand at rest twice a second takes a fifth of a
        core."""
        active = set(self._plane.active())
        busy, seen = active.union(self._were_active), self._seen
        self._were_active, self._seen = active, wanted
        if self._looked_at_all is None or now >= self._looked_at_all + LOOK_AT_ALL_S:
            self._looked_at_all = now
            return list(wanted.values())
        return [cluster for each, cluster in wanted.items() if each in busy or cluster is not seen.get(each)]

    async def _changed(self, candidates: Sequence[Cluster]) -> Sequence[AccountCluster]:
        if any(each.account_id not in self._names for each in candidates):
            self._names = await asyncio.to_thread(self._read_names)
        changed = []
        for done, each in enumerate(candidates, 1):
            report = await self._plane.find(each.account_id, each.model_id)
            if report is not None:  # else it was deleted meanwhile
                shown = show_account_cluster(report, self._names[each.account_id])
                if not is_same(shown, self._told.get(each.id)):
                    self._told[each.id] = shown
                    changed.append(shown)
            if done % LOOKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return changed


def show_gone(cluster: AccountCluster) -> GoneAccountCluster:
    """What is told of a cluster that is no more."""
    return GoneAccountCluster(model_id=cluster.model_id, account=cluster.account, account_id=cluster.account_id)
