"""A client on the other side of ASGI: sends one request, keeps what it is answered, may leave at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec

from modelyard.http.exchange import HttpExchange


class HttpClient:
    """One request. `left`: set it, and the client has closed its connection."""

    def __init__(
        self,
        body: Mapping[str, Any] | bytes = b"",
        *,
        key: str | None = None,
        content_type: str = "application/json",
        query: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`headers`: more of them."""
        self._body = body if isinstance(body, bytes) else msgspec.json.encode(body)
        sent = {"host": "example.test", "content-type": content_type, **(headers or {})}
        if key is not None:
            sent["authorization"] = f"Key {key}"
        self.scope = {
            "type": "http",
            "method": "POST",
            "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "query_string": query.encode(),
        }
        self.left = asyncio.Event()
        self.body_was_read = False
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.ended = False
        self.changed = asyncio.Event()

    @property
    def http(self) -> HttpExchange:
        """The server's side of the request."""
        return HttpExchange(self.scope, self.receive, self.send)

    async def receive(self) -> MutableMapping[str, Any]:
        if not self.body_was_read:
            self.body_was_read = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            if message.get("body"):
                self.pieces.append(message["body"])
            self.ended = not message.get("more_body", False)
        self.changed.set()

    def text(self) -> str:
        """What has come of the answer."""
        return b"".join(self.pieces).decode()

    def json(self) -> Any:
        """The whole answer."""
        assert self.ended
        return msgspec.json.decode(b"".join(self.pieces))
