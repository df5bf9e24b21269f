"""From an operation to a route: who asks, and whether it may now; the handler's answer as JSON, every error in the
surface's own shape.

The same for all surfaces and all calls but inference, which has its own way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modelyard.accounts.calls import CallBudget
from modelyard.errors import OperatorOnly, Unauthorized
from modelyard.gateway import credentials, problem
from modelyard.gateway.operation import Handler, Operation
from modelyard.gateway.requests import new_request_id
from modelyard.http.connections import trust
from modelyard.http.exchange import JSON
from modelyard.records.accounts import Key

Authenticate = Callable[[str | None, str | None], Awaitable[Key]]
"""From an Authorization header, or what stands for one (see `credentials`), and the client's address to the key. Raises
Unauthorized, Throttled."""
Endpoint = Callable[[Request], Awaitable[Response]]


def route(operation: Operation, handler: Handler, authenticate: Authenticate, budget: CallBudget) -> Route:
    """The operation's route."""
    return Route(operation.path, endpoint(operation, handler, authenticate, budget), methods=[*operation.methods])


def endpoint(operation: Operation, handler: Handler, authenticate: Authenticate, budget: CallBudget) -> Endpoint:
    """Answers requests with what the handler returns or raises."""

    async def answer(request: Request) -> Response:
        request_id = new_request_id()
        try:
            response = await attempt(request)
        except Exception as error:  # noqa: BLE001 - the border where every error becomes an answer
            response = refuse(error, request_id)
        response.headers["x-request-id"] = request_id
        return response

    def refuse(error: Exception, request_id: str) -> Response:
        problem.note(error, request_id)
        response = json_response(operation.error.status_of(error), operation.error.of(error, request_id))
        response.headers.update(problem.headers_of(error))
        return response

    async def attempt(request: Request) -> Response:
        """As `work`; what is to be done about a denied one may fail too, and is what is answered then."""
        try:
            return await work(request)
        except (Unauthorized, OperatorOnly) as error:
            if operation.on_denied is not None:
                await operation.on_denied(request, error)
            raise

    async def work(request: Request) -> Response:
        address = None if request.client is None else request.client.host
        key = []
        if not operation.public:
            key = [await authenticate(credentials.of_call(request), address)]
            trust(request.scope)
        account_id = key[0].account_id if key else None
        async with budget.call(account_id, address, operation.counts, read=operation.is_read) as count:
            result = await handler(request, *key)
            response = result if isinstance(result, Response) else json_response(operation.status, result)
            count(len(getattr(response, "body", b"")))
        return response

    return answer


def json_response(status: int, data: object) -> Response:
    """An answer in JSON."""
    return Response(msgspec.json.encode(data), status, media_type=JSON)
