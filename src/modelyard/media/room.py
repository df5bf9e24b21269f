"""How much the media of one request may take together once they are decoded. Owns the count; decodes nothing."""

from __future__ import annotations

from modelyard.errors import InvalidRequest
from modelyard.units import MIB

MOST_BYTES = 512 * MIB
"""Fourteen photographs of 12 megapixels; less than the smallest worker may allocate."""


class Room:
    """What is left for one request's media. `refused`: something was too much."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._taken = 0
        self.refused = False

    def take(self, more_bytes: int, where: str) -> None:
        """Counts what is about to be decoded. Raises InvalidRequest naming `where` when it is too much."""
        if self._taken + more_bytes > self._most:
            self.refused = True
            raise InvalidRequest(
                f"{where}: it takes {more_bytes // MIB} MiB once decoded, beside {self._taken // MIB} MiB of the media "
                f"before it; accepted: at most {self._most // MIB} MiB in one request. Send fewer, or smaller ones.",
                field=where,
            )
        self._taken += more_bytes
