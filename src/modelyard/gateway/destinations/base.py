"""Where an inference can be sent, seen from the gateway. Owns the contract; every destination keeps it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable

from modelyard.gateway.model_request import ModelRequest
from modelyard.protocol import Outcome, Usage

OnPiece = Callable[[str], Awaitable[None]]
"""Takes the next piece of a streamed output; awaited before the next one is read."""
OnSpent = Callable[[str, Usage], None]
"""Told when a try is over, however it ended: the id of who did the work, and what of it is charged for: an instance's
microseconds, or what a provider has counted."""


class Destination(ABC):
    """Runs inferences that have been checked."""

    @abstractmethod
    async def run(self, request: ModelRequest, on_piece: OnPiece | None, on_spent: OnSpent) -> Outcome:
        """Runs one inference to its end. With `on_piece`, pieces of the output go there as they are made.

        Cancelling it cancels the work. `on_spent` is called once for each try, before this returns or raises; the last
        call counts. Raises what the model answered, and why it could not be asked.
        """
