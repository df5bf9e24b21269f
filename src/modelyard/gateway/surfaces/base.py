"""What a surface is to the one inference: how an API reads its body, and shows an answer, a piece and an error.

Everything between the two (who may ask, which model, where it runs, what it costs) is `gateway.inference`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from modelyard.gateway.model_request import ModelRequest
from modelyard.gateway.shapes.base import ErrorBody
from modelyard.http.exchange import JSON, HttpExchange
from modelyard.protocol import CalledPiece, Outcome
from modelyard.tasks.base import Task


class UnifiedBody(msgspec.Struct, frozen=True):
    """What a surface read of a request: the model it names, and its fields in the unified format, not checked yet.

    `asked`: what the surface wants to know again of the request when it answers; None: nothing. `models`: what to try
    when that model cannot answer, in this order; not checked yet."""

    model_id: str
    body: Mapping[str, Any]
    asked: Any = None
    models: Any = None


class Payload(msgspec.Struct, frozen=True):
    """A whole answer, or the end of a stream: bytes and what they are."""

    data: bytes
    content_type: str = JSON


class Surface(ABC):
    """One API's inference. Has no state of its own requests: every call gets what it needs."""

    name: ClassVar[str]
    """What metrics call it."""
    stream_type: ClassVar[str]
    """The content type of its streams."""
    error_shape: ClassVar[type[ErrorBody]]
    """What its errors look like."""
    asks: ClassVar[str | None] = None
    """The task that it asks of a model of which nobody knows what it is for; None: what the request says."""
    makes_clusters: ClassVar[bool] = True
    """Whether a request for a model without a cluster makes one; otherwise such a request is an error."""

    recalls: ClassVar[bool] = False
    """Whether what it reads goes on from what it has kept: see `recall`."""

    @abstractmethod
    async def read(self, http: HttpExchange, model_id: str | None) -> UnifiedBody:
        """Reads the request. `model_id`: what its path names, where the path names a model.

        Raises MalformedBody, BodyTooLarge, UnsupportedMediaType, InvalidRequest, ClientLeft.
        """

    async def recall(self, read: UnifiedBody, account_id: str, http: HttpExchange) -> UnifiedBody:
        """What the surface read, with what it has kept for the account that asks. Raises UnknownResponse,
        InvalidRequest."""
        return read

    def fields(self, read: UnifiedBody, task: Task) -> Mapping[str, Any]:
        """The request's fields in the unified format, for a model of that task, where they depend on it.

        Raises InvalidRequest for a task that this call of the surface cannot ask for.
        """
        return read.body

    @abstractmethod
    async def answer(self, http: HttpExchange, request: ModelRequest, outcome: Outcome) -> Payload:
        """The whole answer; for a request that streams, what follows its last piece, which may be nothing."""

    def piece(self, request: ModelRequest, text: str) -> bytes:
        """A piece of a stream: the text itself, where nothing is put around it."""
        return text.encode()

    def thought(self, request: ModelRequest, text: str) -> bytes:
        """A piece of what the model thinks before it answers: nothing, where a stream carries the output alone."""
        return b""

    def called(self, request: ModelRequest, piece: CalledPiece) -> bytes:
        """A piece of a call: nothing, where a stream carries the output alone, or calls whole at its end."""
        return b""

    def opening(self, request: ModelRequest) -> bytes:
        """What a stream begins with, before its first piece."""
        return b""

    def rename(self, error: BaseException, asked: Any) -> BaseException:
        """An error about what came of the request once it was read, in the words of the surface's own fields. `asked`:
        see UnifiedBody; None too, where it was not known yet."""
        return error

    def error(self, error: BaseException, request_id: str, asked: Any = None) -> bytes:
        """The JSON body of an error, when nothing of the answer has been sent. `asked`: see UnifiedBody; None too,
        where the request could not be read."""
        return msgspec.json.encode(self.error_shape.of(error, request_id))

    def stream_error(self, error: BaseException, request_id: str, asked: Any = None) -> bytes:
        """What a stream that has begun ends with because of an error; nothing: its connection is broken off. `asked`:
        see UnifiedBody."""
        return b""
