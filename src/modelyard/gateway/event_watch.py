"""What is new in the logs of an account's clusters, for one listener, who asks again and again. Owns up to which line
that listener was told; reads the database only when there are new lines."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.control.plane import Plane
from modelyard.gateway.event_streams import message
from modelyard.gateway.shapes.clusters import show_events
from modelyard.records.clusters import Event

LINES_AT_ONCE = 500


class EventWatch:
    """Of all of an account's clusters, or of one model's."""

    def __init__(self, plane: Plane, account_id: str, model_id: str | None, *, after: int | None, last: int) -> None:
        """`after`: the line after which its listener goes on; None: it begins with the `last` lines."""
        self._plane = plane
        self._account_id = account_id
        self._model_id = model_id
        self._after = after
        self._last = last
        self._written: int | None = None
        """How many lines there were when all of them were told."""

    async def look(self) -> Sequence[bytes]:
        """The lines since the last call, LINES_AT_ONCE at most. Raises Unavailable."""
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
