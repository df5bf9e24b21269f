"""The front door of control: all that gateway, jobs and consoles may ask about clusters, replicas and their models.

Takes and returns records, never a reconciler, a replica or a link, so that one day the one who answers may sit in
another process. The one exception is `Route`, which belongs to the server that sends requests. Loop thread only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.control.boots import log_folder
from modelyard.control.clusters import Changes, Clusters, Report
from modelyard.control.journal import Journal
from modelyard.control.preparation import Preparations, Prepared
from modelyard.control.reconciler import Reconciler
from modelyard.control.replicas import Supervised
from modelyard.control.routes import Route, Routes
from modelyard.control.states import ClusterStatus
from modelyard.engine.base import Engine, ReplicaLog
from modelyard.errors import UnknownCluster
from modelyard.records.clusters import Event
from modelyard.records.models import ModelCard
from modelyard.store.store import Store


@dataclass(frozen=True, slots=True)
class Overview:
    """What everything together is doing. `warm`: boots are quick by now. `in_flight`, `queued`: inferences on replicas,
    and those that wait for one. `clusters`: how many there are."""

    warm: bool
    in_flight: int
    queued: int
    clusters: int


class Plane:
    """One server's control plane, from outside. An account only ever reaches its own clusters."""

    def __init__(
        self,
        clusters: Clusters,
        reconciler: Reconciler,
        routes: Routes,
        preparations: Preparations,
        engine: Engine,
        store: Store,
        journal: Journal,
    ) -> None:
        self._clusters = clusters
        self._reconciler = reconciler
        self._routes = routes
        self._preparations = preparations
        self._engine = engine
        self._store = store
        self._journal = journal

    def overview(self) -> Overview:
        """What everything together is doing."""
        load = self._routes.totals()
        return Overview(self._engine.warm, load.in_flight, load.queued, len(self._clusters.all()))

    # --- models ---

    def find_model(self, model_id: str) -> ModelCard | None:
        """The card of a model whose files are in use, without asking the disk; None: ask `get_model`."""
        state = self._preparations.find(model_id)
        return state.card if isinstance(state, Prepared) else None

    async def get_model(self, model_id: str) -> ModelCard:
        """The model's card, if it may be served. Raises UnknownModel, ModelRefused, and what the catalog raises."""
        return await self._clusters.model(model_id)

    # --- clusters ---

    async def put(self, account_id: str, model_id: str, changes: Changes) -> Report:
        """Creates the cluster, or updates and wakes it. Raises InvalidRequest, QuotaExceeded, and as `get_model`."""
        return self._report(await self._clusters.put(account_id, model_id, changes))

    async def patch(self, account_id: str, model_id: str, changes: Changes) -> Report:
        """Changes a cluster; it wakes unless only its timeout changes. Raises UnknownCluster, InvalidRequest."""
        return self._report(await self._clusters.patch(account_id, model_id, changes))

    async def delete(self, account_id: str, model_id: str) -> None:
        """Stops every instance and removes the cluster; returns when they are gone. Raises UnknownCluster."""
        await self._clusters.delete(account_id, model_id)

    async def find(self, account_id: str, model_id: str) -> Report | None:
        """The cluster as it is now; None when there is none."""
        supervised = self._clusters.find(account_id, model_id)
        return None if supervised is None else self._report(supervised)

    async def get(self, account_id: str, model_id: str) -> Report:
        """The cluster as it is now. Raises UnknownCluster."""
        return self._report(self._clusters.get(account_id, model_id))

    async def list(self, account_id: str) -> Sequence[Report]:
        """The account's clusters as they are now, by model id."""
        return [self._report(each) for each in self._clusters.list(account_id)]

    async def events(self, account_id: str, model_id: str, *, after: int | None, limit: int) -> Sequence[Event]:
        """A cluster's log, oldest first, what was just noted included. `after`: an event's id."""
        await self._journal.flush()
        return await asyncio.to_thread(self._store.events.list, account_id, model_id, after_id=after, limit=limit)

    async def logs(self, account_id: str, model_id: str, count: int) -> Sequence[ReplicaLog]:
        """The ends of the outputs of the newest `count` replicas, newest first; empty when none has run."""
        return await self._engine.read_logs(log_folder(account_id, model_id), count)

    # --- requests ---

    async def ensure_route(self, account_id: str, model_id: str) -> Route:
        """Where requests to the account's cluster go; the cluster is made with defaults when there is none.

        One that was given up is worth another try after a while. Raises QuotaExceeded, and as `get_model` does.
        """
        return self._revived(await self._clusters.ensure(account_id, model_id))

    async def get_route(self, account_id: str, model_id: str) -> Route:
        """The same for a cluster that runs or is about to. Raises UnknownCluster when there is none, or it has stopped.

        One that was given up is worth another try after a while.
        """
        supervised = self._clusters.get(account_id, model_id)
        route = self._revived(supervised)
        if supervised.failure is None and self._clusters.report(supervised).status in STOPPED:
            raise UnknownCluster(model=model_id)
        return route

    def _revived(self, supervised: Supervised) -> Route:
        if supervised.failure is not None:
            self._reconciler.revive(supervised.cluster.id)
        return supervised.route

    def _report(self, supervised: Supervised) -> Report:
        return self._clusters.report(supervised)


STOPPED = frozenset({ClusterStatus.STOPPING, ClusterStatus.STOPPED})
"""The statuses in which a cluster takes no requests before it is asked for again."""
