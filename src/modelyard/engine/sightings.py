"""What an engine sees of its replicas, with a note of what has changed. Owns that note; knows no engine."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modelyard.engine.base import Sighting


class Sightings(dict[str, "Sighting"]):
    """Every replica launched and not forgotten, by id. Notes by itself which were written or deleted, so that who looks
    at them need not compare them all, and no engine can forget to tell. Written by item only."""

    def __init__(self) -> None:
        super().__init__()
        self._changed: dict[str, None] = {}

    def __setitem__(self, replica_id: str, sighting: Sighting) -> None:
        self._changed[replica_id] = None
        super().__setitem__(replica_id, sighting)

    def __delitem__(self, replica_id: str) -> None:
        self._changed[replica_id] = None
        super().__delitem__(replica_id)

    def forget(self, replica_id: str) -> bool:
        """Drops a replica that is GONE; whether it was one."""
        sighting = self.get(replica_id)
        if sighting is None or not sighting.is_gone:
            return False
        del self[replica_id]
        return True

    def take_changed(self, most: int) -> Collection[str]:
        """So many of the ids that were written or deleted since they were taken last. For one reader."""
        taken = list(islice(self._changed, most))
        for replica_id in taken:
            del self._changed[replica_id]
        return taken

    @property
    def have_changed(self) -> bool:
        """Whether there are more to take."""
        return bool(self._changed)
