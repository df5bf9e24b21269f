"""`/health`, `/livez` and `/readyz`: what the server says of itself, without a key."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from modelyard.accounts.quotas import Quotas
from modelyard.control.plane import Plane
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.health import Health, State, show_health


class HealthCalls:
    """Handlers over what counts the work there is."""

    def __init__(self, plane: Plane, quotas: Quotas) -> None:
        self._plane = plane
        self._quotas = quotas

    def operations(self) -> Sequence[Operation]:
        """What can be asked."""
        return [
            Operation(
                path="/health",
                summary="What the server is doing",
                tag="health",
                handler=self.health,
                public=True,
                answer=Health,
            ),
            Operation(
                path="/livez",
                summary="The process answers",
                tag="health",
                handler=self.livez,
                public=True,
                answer=State,
            ),
            Operation(
                path="/readyz",
                summary="Requests are taken",
                tag="health",
                handler=self.readyz,
                public=True,
                answer=State,
            ),
        ]

    async def health(self, request: Request) -> Health:
        """What the server is doing: `warm` once boots are quick."""
        return show_health(self._plane.overview(), self._quotas.under_way())

    async def livez(self, request: Request) -> State:
        """The process answers."""
        return State(status="ok")

    async def readyz(self, request: Request) -> State:
        """Requests are taken. A cold model is no reason not to be ready: its requests wait."""
        return State(status="ready")
