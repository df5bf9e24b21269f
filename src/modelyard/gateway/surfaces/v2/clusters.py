"""v2's calls on clusters: create, read, change, delete, list, their events and their replicas' output.

Speaks to the control plane; owns no rule on clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.funds import Funds
from modelyard.control.plane import Plane
from modelyard.errors import NotFound
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.requests import model_name_of
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.shapes.clusters import (
    Cluster,
    ClusterAnswer,
    ClusterQuery,
    Event,
    EventsQuery,
    LogsQuery,
    NamedClusterQuery,
    PatchBody,
    PutBody,
    ReplicaOutput,
    show_cluster,
    show_events,
    show_logs,
    to_changes,
)
from modelyard.records.accounts import Key

PATH = "/models/v2/{org}/{model}"
PATH_OF_ANY = "/models/v2"
"""For models whose own path is another call's, such as `usage/name`: their query names them."""


class ClusterCalls:
    """Handlers over one control plane."""

    def __init__(self, plane: Plane, aliases: Aliases, funds: Funds) -> None:
        self._plane = plane
        self._aliases = aliases
        self._funds = funds

    def operations(self) -> Sequence[Operation]:
        """What can be done with clusters."""
        return [
            Operation(
                path="/models/v2/list/clusters",
                summary="List your clusters",
                tag="lists",
                handler=self.list,
                answer=Answer[Sequence[Cluster]],
            ),
            Operation(
                path="/models/v2/events/{org}/{model}",
                summary="Read a cluster's log, oldest first",
                tag="clusters",
                handler=self.events,
                query=EventsQuery,
                answer=Answer[Sequence[Event]],
            ),
            Operation(
                path="/models/v2/logs/{org}/{model}",
                summary="Read the output of a cluster's workers, newest first",
                tag="clusters",
                handler=self.logs,
                query=LogsQuery,
                answer=Answer[Sequence[ReplicaOutput]],
            ),
            Operation(
                methods=("PUT",),
                path=PATH,
                summary="Create an auto-scaling cluster, or update it",
                tag="clusters",
                handler=self.put,
                body=PutBody,
                answer=Answer[str],
                status=202,
            ),
            Operation(
                path=PATH,
                summary="Read a cluster",
                tag="clusters",
                handler=self.get,
                query=ClusterQuery,
                answer=ClusterAnswer,
            ),
            Operation(
                path=PATH_OF_ANY,
                summary="Read a cluster at whose own path another call reads, such as that of `usage/name`",
                tag="clusters",
                handler=self.get_named,
                query=NamedClusterQuery,
                answer=ClusterAnswer,
            ),
            Operation(
                methods=("PATCH",),
                path=PATH,
                summary="Change a live cluster",
                tag="clusters",
                handler=self.patch,
                body=PatchBody,
                answer=ClusterAnswer,
            ),
            Operation(
                methods=("DELETE",),
                path=PATH,
                summary="Stop every instance and remove the cluster",
                tag="clusters",
                handler=self.delete,
                answer=Answer[str],
            ),
        ]

    async def put(self, request: Request, key: Key) -> Answer[str]:
        """Creates or updates a cluster."""
        self._funds.check(key.account_id)
        changes = to_changes(await read_body(request, PutBody))
        capacity = self._aliases.capacity_of(key.account_id, model_name_of(request))
        await self._plane.put(key.account_id, self._model_id(request, key), changes, capacity)
        return Answer(output="Loading")

    async def get(self, request: Request, key: Key) -> ClusterAnswer:
        """Describes a cluster; with its last events where they are asked for."""
        return await self._read(key, self._model_id(request, key), read_query(request, ClusterQuery).events)

    async def get_named(self, request: Request, key: Key) -> ClusterAnswer:
        """The same of the cluster that the query names."""
        query = read_query(request, NamedClusterQuery)
        return await self._read(key, self._aliases.model_of(key.account_id, query.model), query.events)

    def _model_id(self, request: Request, key: Key) -> str:
        return self._aliases.model_of(key.account_id, model_name_of(request))

    async def _read(self, key: Key, model_id: str, last_events: int) -> ClusterAnswer:
        report = await self._plane.get(key.account_id, model_id)
        events = None
        if last_events:
            events = await self._plane.events(key.account_id, model_id, after=None, limit=last_events)
        shown = show_cluster(report, events)
        return ClusterAnswer(output=shown, cluster=shown)

    async def patch(self, request: Request, key: Key) -> ClusterAnswer:
        """Changes a cluster."""
        changes = to_changes(await read_body(request, PatchBody))
        shown = show_cluster(await self._plane.patch(key.account_id, self._model_id(request, key), changes))
        return ClusterAnswer(output=shown, cluster=shown)

    async def delete(self, request: Request, key: Key) -> Answer[str]:
        """Stops every instance and removes the cluster."""
        await self._plane.delete(key.account_id, self._model_id(request, key))
        return Answer(output="Deleted")

    async def list(self, request: Request, key: Key) -> Answer[Sequence[Cluster]]:
        """The account's clusters."""
        return Answer(output=[show_cluster(report) for report in await self._plane.list(key.account_id)])

    async def events(self, request: Request, key: Key) -> Answer[Sequence[Event]]:
        """A cluster's log, oldest first."""
        query = read_query(request, EventsQuery)
        model_id = self._model_id(request, key)
        found = await self._plane.events(key.account_id, model_id, after=query.after or None, limit=query.limit)
        return Answer(output=show_events(found))

    async def logs(self, request: Request, key: Key) -> Answer[Sequence[ReplicaOutput]]:
        """The end of what each of the newest replicas has printed."""
        query = read_query(request, LogsQuery)
        model_id = self._model_id(request, key)
        found = await self._plane.logs(key.account_id, model_id, query.replicas)
        if not found:
            raise NotFound(f"No replica of {model_id} has run yet for your account.", model=model_id)
        return Answer(output=show_logs(found))
