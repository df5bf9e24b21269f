"""One model alone, over plain HTTP: `POST /run` takes the inference body, `GET /health` is 503 until it is ready.

Owns the ASGI application and the process's exit code. Answers as the v2 surface does; knows no
database, no keys and no clusters. Where the model's files come from is its caller's business.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import uvicorn

from modelyard.errors import ModelyardError, NotFound, Unavailable
from modelyard.http.exchange import ClientLeft, HttpExchange, Receive, Scope, Send
from modelyard.http.server import uvicorn_config
from modelyard.protocol import CalledPiece, Failed, Outcome, Ready, Status, Thought
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks import body as bodies
from modelyard.worker.calls import call_on_loop, submit_call
from modelyard.worker.life import FreshRuntimes, ModelLibrary, ModelLife, describe_failure
from modelyard.worker.schedulers.base import Scheduler

log = logging.getLogger(__name__)

Prepare = Callable[[], Awaitable[ReplicaSpec]]
"""Gets the model's files onto this machine and says how to load them. Raises ModelyardError."""

STREAM = "text/event-stream; charset=utf-8"
MAX_BODY_BYTES = 64 * 1024 * 1024
Event = str | Outcome | ModelyardError
"""Of one request, on its way from the model's thread: a piece, or its end."""


class SoloModel:
    """The model from the search for its files to its end. All methods belong to the event loop's thread."""

    def __init__(self, library: ModelLibrary, on_change: Callable[[], None]) -> None:
        """`on_change` is called when the model has become ready, and when it has failed."""
        self._library = library
        self._on_change = on_change
        self._life: ModelLife | None = None
        self.spec: ReplicaSpec | None = None
        self.error: ModelyardError | None = None

    async def boot(self, prepare: Prepare) -> None:
        """Fetches the files, then loads them on the model's thread. A failure becomes `error`."""
        try:
            self.spec = spec = await prepare()
        except ModelyardError as error:
            return self._fail(error)
        except Exception as error:
            log.exception("the model's files cannot be had")
            return self._fail(Unavailable(describe_failure(error)))
        self._life = ModelLife(spec, self._library, self._follow)
        return self._life.start()

    @property
    def phase(self) -> str:
        """How far it has got, as `/health` says it: preparing, loading, ready or failed."""
        if self.error is not None:
            return "failed"
        return "preparing" if self._life is None else str(self._life.status.__struct_config__.tag)

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return self.error is None and self._life is not None and isinstance(self._life.status, Ready)

    def scheduler(self) -> Scheduler:
        """Where requests go. Raises Unavailable until the model is ready, and after it has ended."""
        if not self.ready or self._life is None or self._life.scheduler is None:
            raise Unavailable(f"The model is not ready: {self.phase}. GET /health says when it is.")
        return self._life.scheduler

    def close(self) -> None:
        """Lets the model's thread end; what still waits fails."""
        if self._life is not None:
            self._life.stop()

    def _follow(self, status: Status) -> None:
        if isinstance(status, Failed) and self._life is not None and self._life.error is not None:
            self._fail(self._life.error)
        elif isinstance(status, Ready):
            self._on_change()

    def _fail(self, error: ModelyardError) -> None:
        self.error = error
        self._on_change()


class SoloApp:
    """ASGI 3: the two paths of a worker."""

    def __init__(self, model: SoloModel) -> None:
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        exchange = HttpExchange(scope, receive, send)
        try:
            match scope["method"], scope["path"]:
                case "GET" | "HEAD", "/health":
                    await self._health(exchange)
                case "POST", "/run":
                    await self._run(exchange)
                case _, path:
                    raise NotFound(f"There is nothing at {path}; there are POST /run and GET /health.")
        except ClientLeft:
            return
        except ModelyardError as error:
            await send_json(exchange, error.status, {"error": error.message, "output": None})

    async def _health(self, exchange: HttpExchange) -> None:
        model = self._model
        spec = model.spec
        report = {
            "status": model.phase,
            "modelId": spec.model_id if spec else None,
            "task": spec.task if spec else None,
            "error": model.error.message if model.error else None,
        }
        await send_json(exchange, 200 if model.ready else 503, report)

    async def _run(self, exchange: HttpExchange) -> None:
        raw = await exchange.body(MAX_BODY_BYTES)
        scheduler = self._model.scheduler()
        inference = bodies.read(scheduler.task, bodies.decode_object(raw, MAX_BODY_BYTES))
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def put(event: Event) -> None:
            call_on_loop(loop, events.put_nowait, event)

        running = submit_call(
            scheduler, inference.fields, inference.params, emit=put if inference.stream else None, deliver=put
        )
        try:
            with exchange.until_client_leaves():
                await pass_on(events, exchange)
        finally:
            running.is_cancelled = True


async def pass_on(events: asyncio.Queue[Event], exchange: HttpExchange) -> None:
    """Sends pieces as they come, what is thought and called not among them, then ends the answer. Raises the model's
    error when nothing was sent before it.

    An error after the first piece leaves the answer without an end, so that the connection breaks and no client
    mistakes it for a whole one.
    """
    while isinstance(event := await events.get(), str):
        if isinstance(event, Thought | CalledPiece):
            continue
        if not exchange.started:
            await exchange.start_stream(STREAM, {})
        await exchange.send_chunk(event.encode())
    match event:
        case ModelyardError() if not exchange.started:
            raise event
        case ModelyardError():
            log.warning("a stream broke off: %s", event.message)
        case Outcome() if exchange.started:
            await exchange.end_stream()
        case Outcome(output):
            await send_json(exchange, 200, {"error": None, "output": output})


async def send_json(exchange: HttpExchange, status: int, data: Any) -> None:
    """Sends a whole JSON answer."""
    await exchange.send_json(status, msgspec.json.encode(data), {"cache-control": "no-cache"})


def serve(
    prepare: Prepare,
    listener: socket.socket,
    on_ready: Callable[[ReplicaSpec], None],
    library: ModelLibrary | None = None,
) -> None:
    """Serves on the bound `listener` until SIGINT or SIGTERM; answers from the first moment, 503 until it is ready.

    `library`: by default the real one. Raises the ModelyardError that kept the model from starting, or ended it.
    """
    asyncio.run(_serve(prepare, listener, on_ready, library or FreshRuntimes()))


async def _serve(
    prepare: Prepare, listener: socket.socket, on_ready: Callable[[ReplicaSpec], None], library: ModelLibrary
) -> None:
    def on_change() -> None:
        if model.ready and model.spec is not None:
            on_ready(model.spec)
        else:
            server.should_exit = True

    model = SoloModel(library, on_change)
    server = uvicorn.Server(uvicorn_config(SoloApp(model)))
    boot = asyncio.create_task(model.boot(prepare), name="boot")
    try:
        await server.serve(sockets=[listener])
    finally:
        boot.cancel()
        await asyncio.gather(boot, return_exceptions=True)
        model.close()
    if model.error is not None:
        raise model.error
