"""The destination of each inference: its provider's for a closed model, else this server's replicas."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from modelyard.gateway.destinations.base import Destination, OnPiece, OnSpent
from modelyard.gateway.model_request import ModelRequest
from modelyard.protocol import Outcome


class Choice(Destination):
    """Sends each inference to the destination that it is for."""

    def __init__(self, replicas: Destination, providers: Destination) -> None:
        self._replicas = replicas
        self._providers = providers

    def run(self, request: ModelRequest, on_piece: OnPiece | None, on_spent: OnSpent) -> Coroutine[Any, Any, Outcome]:
        """See Destination."""
        chosen = self._replicas if request.card.closed is None else self._providers
        return chosen.run(request, on_piece, on_spent)
