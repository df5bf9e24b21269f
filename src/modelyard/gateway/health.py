"""`/health`, `/livez` and `/readyz`: what the server says of itself: one word to strangers, more to its operator."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request

from modelyard.accounts.quotas import Quotas
from modelyard.control.plane import Plane
from modelyard.errors import ModelyardError
from modelyard.gateway import credentials
from modelyard.gateway.endpoint import Authenticate
from modelyard.gateway.operation import Operation
from modelyard.gateway.shapes.health import Health, State, show_health
from modelyard.http.connections import trust


class HealthCalls:
    """Handlers over what counts the work there is."""

    def __init__(self, plane: Plane, quotas: Quotas, authenticate: Authenticate, operator_id: str) -> None:
        """`operator_id`: the account whose keys are told more."""
        self._plane = plane
        self._quotas = quotas
        self._authenticate = authenticate
        self._operator_id = operator_id

    def operations(self) -> Sequence[Operation]:
        """What can be asked."""
        return [
            Operation(
                path="/health",
                summary="What the server is doing",
                tag="health",
                handler=self.health,
                public=True,
                cost=0,
                answer=Health,
            ),
            Operation(
                path="/livez",
                summary="The process answers",
                tag="health",
                handler=self.livez,
                public=True,
                cost=0,
                answer=State,
            ),
            Operation(
                path="/readyz",
                summary="Requests are taken",
                tag="health",
                handler=self.readyz,
                public=True,
                cost=0,
                answer=State,
            ),
        ]

    async def health(self, request: Request) -> Health:
        """That the server answers; to its operator also what it is doing: `warm` once boots are quick."""
        if not await self._is_operator(request):
            return Health(status="ok")
        return show_health(await self._plane.overview(), self._quotas.under_way())

    async def _is_operator(self, request: Request) -> bool:
        address = None if request.client is None else request.client.host
        try:
            key = await self._authenticate(credentials.of_call(request), address)
        except ModelyardError:
            return False
        trust(request.scope)
        return key.account_id == self._operator_id

    async def livez(self, request: Request) -> State:
        """The process answers."""
        return State(status="ok")

    async def readyz(self, request: Request) -> State:
        """Requests are taken. A cold model is no reason not to be ready: its requests wait."""
        return State(status="ready")
