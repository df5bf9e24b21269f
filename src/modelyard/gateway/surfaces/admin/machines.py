"""The admin API's calls on machines: which there are, who holds what on them, now and before, whether they are used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response

from modelyard.clock import Clock
from modelyard.control.plane import Plane
from modelyard.gateway.event_streams import EVENT_STREAM, EventStreams, StreamQuery, message
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_body, read_query
from modelyard.gateway.shapes.base import Answer
from modelyard.gateway.shapes.history import (
    SPANS,
    AccountHistoryQuery,
    History,
    NodeHistories,
    PeriodQuery,
    show_history,
    show_node_histories,
)
from modelyard.gateway.shapes.nodes import Node, NodeBody, Occupancy, show_node, show_occupancy
from modelyard.gateway.surfaces.admin.accounts import LIST_COST
from modelyard.gateway.surfaces.admin.gate import Gate, describe
from modelyard.records.audit import Actor
from modelyard.store.history import History as HistoryTable

STREAM_OF_OCCUPANCY = {
    "type": "string",
    "description": "Server-sent events: `machines` (an Occupancy: `nodes`, `replicas`, `evicted`) at first and "
    "whenever it has changed; a comment at least every ten seconds.",
}

MACHINE_CALLS = (
    describe("GET", "/nodes", "List the machines that replicas run on", Answer[Sequence[Node]]),
    describe(
        "PATCH",
        "/nodes/{node}",
        "Have a machine, or one of its accelerators, emptied, or used again",
        Answer[str],
        body=NodeBody,
    ),
    describe("GET", "/occupancy", "Read who holds what on all machines, and who had to leave", Answer[Occupancy]),
    describe(
        "GET",
        "/live",
        "Listen to who holds what on all machines",
        None,
        query=StreamQuery,
        answer_types={EVENT_STREAM: STREAM_OF_OCCUPANCY},
    ),
    describe(
        "GET",
        "/history/nodes",
        "Read what machines held in the last hour, day or month, for charts",
        Answer[NodeHistories],
        query=PeriodQuery,
        cost=LIST_COST,
    ),
    describe(
        "GET",
        "/history/clusters",
        "Read what an account's cluster did in the last hour, day or month, for charts",
        Answer[History],
        query=AccountHistoryQuery,
        cost=LIST_COST,
    ),
)


class MachineCalls:
    """Handlers over the machines of all servers of a database."""

    def __init__(self, gate: Gate, plane: Plane, streams: EventStreams, history: HistoryTable, clock: Clock) -> None:
        self._gate = gate
        self._plane = plane
        self._streams = streams
        self._history = history
        self._clock = clock

    def operations(self) -> Sequence[Operation]:
        """What can be asked and done."""
        handlers = (
            self.list_nodes,
            self.change_node,
            self.occupancy,
            self.listen,
            self.node_history,
            self.cluster_history,
        )
        return [self._gate.serve(*each) for each in zip(MACHINE_CALLS, handlers, strict=True)]

    async def list_nodes(self, request: Request, actor: Actor) -> Answer[Sequence[Node]]:
        """The machines."""
        return Answer(output=[show_node(name, memory) for name, memory in (await self._plane.nodes()).items()])

    async def change_node(self, request: Request, actor: Actor) -> Answer[str]:
        """Whether one machine, or one accelerator of it, takes new replicas."""
        node, body = str(request.path_params["node"]), await read_body(request, NodeBody)
        await self._plane.take_launches(node, accepting=body.accepting, device=body.device)
        what = node if body.device is None else f"{body.device} of {node}"
        await asyncio.to_thread(self._gate.administration(actor).note_node, what, accepting=body.accepting)
        words = (
            "takes replicas"
            if body.accepting
            else "takes no new replicas; those that it runs leave as others are ready"
        )
        return Answer(output=f"{what} {words}.")

    async def occupancy(self, request: Request, actor: Actor) -> Answer[Occupancy]:
        """Who holds what."""
        return Answer(output=await self._show())

    async def listen(self, request: Request, actor: Actor) -> Response:
        """The same, whenever it has changed."""
        told: list[Occupancy] = []

        async def look() -> Sequence[bytes]:
            shown = await self._show()
            if told == [shown]:
                return ()
            told[:] = [shown]
            return [message("machines", shown)]

        return self._streams.answer(request, actor.name, look, read_query(request, StreamQuery).seconds)

    async def node_history(self, request: Request, actor: Actor) -> Answer[NodeHistories]:
        """What machines held."""
        span, now = SPANS[read_query(request, PeriodQuery).period], self._clock.now()
        points = await asyncio.to_thread(self._history.list_nodes, span.stored_step_s, now - span.back, now)
        return Answer(output=show_node_histories(points, span, now))

    async def cluster_history(self, request: Request, actor: Actor) -> Answer[History]:
        """What a cluster did, whoever's it is."""
        query = read_query(request, AccountHistoryQuery)
        account = await asyncio.to_thread(self._gate.administration(actor).get_account, query.account)
        span, now = SPANS[query.period], self._clock.now()
        points = await asyncio.to_thread(
            self._history.list_clusters, account.id, query.model, span.stored_step_s, now - span.back, now
        )
        return Answer(output=show_history(query.model, points, span, now))

    async def _show(self) -> Occupancy:
        nodes, replicas = await self._plane.nodes(), await self._plane.replicas()
        return await asyncio.to_thread(show_occupancy, nodes.items(), replicas, self._plane.evictions())
