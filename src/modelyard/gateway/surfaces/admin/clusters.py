"""The admin API's calls on clusters: those of all accounts. What becomes of one is its account's to say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

from starlette.requests import Request
from starlette.responses import Response

from modelyard.control.plane import Plane
from modelyard.errors import InvalidRequest
from modelyard.gateway.cluster_watch import ClusterWatch
from modelyard.gateway.event_streams import EVENT_STREAM, EventStreams, Look
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_query
from modelyard.gateway.shapes.admin import ClustersQuery, Listed
from modelyard.gateway.shapes.base import described
from modelyard.gateway.shapes.clusters import AccountCluster, show_account_cluster
from modelyard.gateway.surfaces.admin.accounts import LIST_COST
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.gateway.surfaces.admin.pages import answer_found, find_page
from modelyard.gateway.surfaces.v2.live import LAST_EVENT, LiveQuery, look_of
from modelyard.records.audit import Actor
from modelyard.records.clusters import Cluster


class AccountLiveQuery(LiveQuery, frozen=True, kw_only=True):
    """What to listen to, and whose."""

    account: Annotated[
        str | None,
        described("The account's name, or its id. Without it: of all accounts, how clusters stand, and no lines."),
    ] = None


STREAM_OF_ACCOUNTS = {
    "type": "string",
    "description": "Server-sent events: `log` (an Event, with its id; of one account), `cluster` (an AccountCluster "
    "that has changed, all of them at first), `known` (once, when all were told), `gone` (modelId, account, accountId "
    "of one that was deleted); a comment at least every ten seconds.",
}

CLUSTER_CALLS = (
    describe(
        "GET",
        "/clusters",
        "List the clusters of all accounts, by account and model, in pages",
        Listed[AccountCluster],
        query=ClustersQuery,
        cost=LIST_COST,
    ),
    describe(
        "GET",
        "/clusters/live",
        "Listen to the clusters of an account, what happens and how they stand, or to how those of all accounts do",
        None,
        query=AccountLiveQuery,
        request_headers=LAST_EVENT,
        answer_types={EVENT_STREAM: STREAM_OF_ACCOUNTS},
    ),
)


class AccountClusterCalls:
    """Handlers over the control plane."""

    def __init__(self, gate: Gate, plane: Plane, streams: EventStreams) -> None:
        self._gate = gate
        self._plane = plane
        self._streams = streams

    def operations(self) -> Sequence[Operation]:
        """What can be asked."""
        return [self._gate.serve(*each) for each in zip(CLUSTER_CALLS, (self.list, self.listen), strict=True)]

    async def list(self, request: Request, actor: Actor) -> Response:
        """The clusters of one account or of all, of one model or of any."""
        query = read_query(request, ClustersQuery)
        names = await asyncio.to_thread(self._gate.administration(actor).list_account_names, query.account)

        def mark_of(cluster: Cluster) -> str:
            return f"{names[cluster.account_id]} {cluster.model_id}"

        wanted = (each for account_id in names for each in self._plane.wanted(account_id, query.model))
        found, following = find_page(query, wanted, mark_of)
        reports = [await self._plane.find(each.account_id, each.model_id) for each in found]
        shown = [show_account_cluster(each, names[each.cluster.account_id]) for each in reports if each is not None]
        return answer_found(request, shown, following)

    async def listen(self, request: Request, actor: Actor) -> Response:
        """What happens to an account's clusters, as it hears of them itself, or how those of all accounts stand."""
        query = read_query(request, AccountLiveQuery)
        look = await self._look_of(request, query, actor)
        return self._streams.answer(request, actor.name, look, query.seconds)

    async def _look_of(self, request: Request, query: AccountLiveQuery, actor: Actor) -> Look:
        administration = self._gate.administration(actor)
        if query.account is None:
            refuse_lines(query)
            return ClusterWatch(self._plane, None, query.model, administration.list_account_names).look
        account = await asyncio.to_thread(administration.get_account, query.account)
        names = {account.id: account.name}
        return look_of(request, query, self._plane, account.id, query.model, lambda: names)


def refuse_lines(query: AccountLiveQuery) -> None:
    """Raises InvalidRequest for a query that asks for lines of the logs of all accounts."""
    for name, value in (("events", query.events or None), ("after", query.after)):
        if value is not None:
            raise InvalidRequest(field=name, got=value, accepted="nothing without account, whose lines are told")
