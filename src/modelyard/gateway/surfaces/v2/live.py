"""v2's calls on what happens and what has happened: clusters as they change, and the figures of charts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response

from modelyard.accounts.aliases import Aliases
from modelyard.clock import Clock
from modelyard.control.plane import Plane
from modelyard.gateway.cluster_watch import ClusterWatch
from modelyard.gateway.event_streams import EVENT_STREAM, EventStreams, Look, StreamQuery, last_event_of
from modelyard.gateway.event_watch import EventWatch
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_query
from modelyard.gateway.shapes.base import Answer, described
from modelyard.gateway.shapes.clusters import LAST_EVENT_ID, MAX_EVENTS
from modelyard.gateway.shapes.history import SPANS, History, HistoryQuery, show_history
from modelyard.records.accounts import Key
from modelyard.store.history import History as HistoryTable

HISTORY_COST = 20.0
"""A day's 1440 rows are read and summed up in 20 ms, an hour's in 2."""
STREAM_OF_EVENTS = {
    "type": "string",
    "description": "Server-sent events: `log` (an Event, with its id), `cluster` (a Cluster that has changed, all of "
    "them at first), `known` (once, when all were told), `gone` (the modelId of one that was deleted); a comment at "
    "least every ten seconds.",
}
LAST_EVENT = {
    "last-event-id": {
        "description": "The id of the last line that was read: those that follow it come first.",
        "schema": {"type": "string"},
    }
}


EventId = Annotated[int, Meta(ge=0, le=LAST_EVENT_ID)]


class LiveQuery(StreamQuery, frozen=True, kw_only=True):
    """What to listen to."""

    model: Annotated[str | None, described("The cluster of this model alone, with its instances.")] = None
    after: Annotated[EventId | None, described("As the header last-event-id, which goes before.")] = None
    events: Annotated[
        int, Meta(ge=0, le=MAX_EVENTS), described("With how many of the last lines to begin, without `after`.")
    ] = 0


class LiveCalls:
    """Handlers over one control plane and its history."""

    def __init__(
        self, plane: Plane, aliases: Aliases, streams: EventStreams, history: HistoryTable, clock: Clock
    ) -> None:
        self._plane = plane
        self._aliases = aliases
        self._streams = streams
        self._history = history
        self._clock = clock

    def operations(self) -> Sequence[Operation]:
        """What can be watched."""
        return [
            Operation(
                path="/models/v2/live",
                summary="Listen to your clusters: what happens, and how they stand",
                tag="clusters",
                handler=self.listen,
                query=LiveQuery,
                request_headers=LAST_EVENT,
                answer=None,
                answer_types={EVENT_STREAM: STREAM_OF_EVENTS},
            ),
            Operation(
                path="/models/v2/history",
                summary="Read what a cluster did in the last hour, day or month, for charts",
                tag="clusters",
                handler=self.history,
                query=HistoryQuery,
                cost=HISTORY_COST,
                answer=Answer[History],
            ),
        ]

    async def listen(self, request: Request, key: Key) -> Response:
        """What happens to the account's clusters, as it happens."""
        query = read_query(request, LiveQuery)
        model_id = None if query.model is None else self._aliases.model_of(key.account_id, query.model)
        look = look_of(request, query, self._plane, key.account_id, model_id)
        return self._streams.answer(request, key.account_id, look, query.seconds)

    async def history(self, request: Request, key: Key) -> Answer[History]:
        """What a cluster of the account's did."""
        query = read_query(request, HistoryQuery)
        model_id = self._aliases.model_of(key.account_id, query.model)
        span, now = SPANS[query.period], self._clock.now()
        points = await asyncio.to_thread(
            self._history.list_clusters, key.account_id, model_id, span.stored_step_s, now - span.back, now
        )
        return Answer(output=show_history(model_id, points, span, now))


def look_of(
    request: Request,
    query: LiveQuery,
    plane: Plane,
    account_id: str,
    model_id: str | None,
    read_names: Callable[[], Mapping[str, str]] | None = None,
) -> Look:
    """What a listener is told of an account's clusters, from where its request goes on: lines of their logs, then how
    they stand. `read_names`: see ClusterWatch."""
    last = last_event_of(request)
    events = EventWatch(plane, account_id, model_id, after=query.after if last is None else last, last=query.events)
    clusters = ClusterWatch(plane, account_id, model_id, read_names)

    async def look() -> Sequence[bytes]:
        return [*await events.look(), *await clusters.look()]

    return look
