"""Bodies of every call but inference: read whole, within the call's limit, before the call sees its request.

Owns which limit holds where; a path without an operation, and one whose operation says nothing, has the default.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.routing import Match, Route

from modelyard.errors import BodyTooLarge, ModelyardError, UnsupportedMediaType
from modelyard.gateway.operation import CONTROL_BODY_BYTES, Operation
from modelyard.gateway.requests import new_request_id
from modelyard.gateway.shapes.base import Error
from modelyard.http.exchange import App, ClientLeft, HttpExchange, Message, Receive, Scope, Send

Calls = Sequence[tuple[Route, Operation]]


class BoundedBodies:
    """ASGI 3: an application behind limits of its requests' bodies."""

    def __init__(self, app: App, calls: Calls) -> None:
        """`calls`: the routes inside `app` and what they were made of."""
        self._app = app
        self._calls = calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on with its body read, or answers 413, or 415 for one that is compressed."""
        if scope["type"] != "http" or not announces_body(scope):
            await self._app(scope, receive, send)
            return
        operation = self._find(scope)
        http = HttpExchange(scope, receive, send)
        try:
            body = await http.body(CONTROL_BODY_BYTES if operation is None else operation.max_body_bytes)
        except ClientLeft:
            return
        except BodyTooLarge as error:
            await refuse(http, BodyTooLarge(error.message), operation)  # its cause speaks of inferences' limit
            return
        except UnsupportedMediaType as error:
            await refuse(http, error, operation)
            return
        await self._app(scope, again(bytes(body), receive), send)

    def _find(self, scope: Scope) -> Operation | None:
        """The operation that a request is for; None for what is none."""
        return next((operation for route, operation in self._calls if route.matches(scope)[0] is Match.FULL), None)


def announces_body(scope: Scope) -> bool:
    """Whether a request's headers say that a body follows."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def again(body: bytes, receive: Receive) -> Receive:
    """What receives a body that was read, and then what `receive` has."""
    left: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return left.pop() if left else await receive()

    return receive_again


async def refuse(http: HttpExchange, error: ModelyardError, operation: Operation | None) -> None:
    """Answers with an error, in the shape of the operation's."""
    shape = Error if operation is None else operation.error
    request_id = new_request_id()
    payload = msgspec.json.encode(shape.of(error, request_id))
    await http.send_json(shape.status_of(error), payload, {"x-request-id": request_id})
