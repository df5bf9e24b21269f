"""One model alone, over plain HTTP: `POST /run` takes the inference body, `GET /health` is 503 until it is ready.

Owns the ASGI application and the process's exit code. Answers as the v2 surface does; knows no
database, no keys and no clusters. Where the model's files come from is its caller's business.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
import uvicorn

from modelyard.errors import BodyTooLarge, ModelyardError, NotFound, Unavailable
from modelyard.protocol import Failed, Outcome, Ready, Status
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks import body as bodies
from modelyard.worker.calls import call_on_loop, submit_call
from modelyard.worker.life import ModelLibrary, ModelLife, Runtimes
from modelyard.worker.schedulers.batches import Batcher

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Prepare = Callable[[], Awaitable[ReplicaSpec]]
"""Gets the model's files onto this machine and says how to load them. Raises ModelyardError."""

JSON = "application/json; charset=utf-8"
STREAM = "text/event-stream; charset=utf-8"
MAX_BODY_BYTES = 64 * 1024 * 1024
GRACEFUL_S = 10
"""How long requests in progress may take once the worker was told to stop."""


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
            await asyncio.to_thread(self._library.import_runtime, spec)
        except ModelyardError as error:
            self.error = error
            self._on_change()
            return
        self._life = ModelLife(spec, self._library, self._follow)
        self._life.start()

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

    def batcher(self) -> Batcher:
        """Where requests go. Raises Unavailable until the model is ready, and after it has ended."""
        if not self.ready or self._life is None or self._life.batcher is None:
            raise Unavailable(f"The model is not ready: {self.phase}. GET /health says when it is.")
        return self._life.batcher

    def close(self) -> None:
        """Lets the model's thread end; what still waits fails."""
        if self._life is not None:
            self._life.stop()

    def _follow(self, status: Status) -> None:
        if isinstance(status, Failed) and self._life is not None:
            self.error = self._life.error
        if isinstance(status, Ready | Failed):
            self._on_change()


class ClientLeft:
    """Marks, among a request's events, that nobody waits for the answer any more."""


class Answer:
    """Marks the end of a request's events: the outcome, or the error in its place."""

    __slots__ = ("outcome",)

    def __init__(self, outcome: Outcome | ModelyardError) -> None:
        self.outcome = outcome


Event = str | Answer | ClientLeft


class SoloApp:
    """ASGI 3: the two paths of a worker."""

    def __init__(self, model: SoloModel) -> None:
        self._model = model

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        try:
            match scope["method"], scope["path"]:
                case "GET" | "HEAD", "/health":
                    await self._health(send)
                case "POST", "/run":
                    await self._run(receive, send)
                case _, path:
                    raise NotFound(f"There is nothing at {path}; there are POST /run and GET /health.")
        except ModelyardError as error:
            await send_json(send, error.status, {"error": error.message, "output": None})

    async def _health(self, send: Send) -> None:
        model = self._model
        spec = model.spec
        report = {
            "status": model.phase,
            "modelId": spec.model_id if spec else None,
            "task": spec.task if spec else None,
            "error": model.error.message if model.error else None,
        }
        await send_json(send, 200 if model.ready else 503, report)

    async def _run(self, receive: Receive, send: Send) -> None:
        raw = await read_body(receive, MAX_BODY_BYTES)
        if raw is None:
            return
        batcher = self._model.batcher()
        inference = bodies.read(batcher.task, bodies.decode_object(raw))
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def emit(text: str) -> None:
            call_on_loop(loop, events.put_nowait, text)

        def deliver(outcome: Outcome | ModelyardError) -> None:
            call_on_loop(loop, events.put_nowait, Answer(outcome))

        running = submit_call(
            batcher,
            inference.fields,
            inference.params,
            emit=emit if inference.stream else None,
            deliver=deliver,
        )
        watch = asyncio.create_task(tell_when_left(receive, events), name="client")
        try:
            await pass_on(events, send)
        finally:
            running.is_cancelled = True
            watch.cancel()


async def pass_on(events: asyncio.Queue[Event], send: Send) -> None:
    """Sends pieces as they come, then ends the answer. Raises the model's error when nothing was sent before it.

    An error after the first piece leaves the answer without an end, so that the connection breaks and no client
    mistakes it for a whole one.
    """
    started = False
    while isinstance(event := await events.get(), str):
        if not started:
            await send_start(send, 200, STREAM)
            started = True
        await send({"type": "http.response.body", "body": event.encode(), "more_body": True})
    match event:
        case ClientLeft():
            return
        case Answer(outcome=ModelyardError() as error) if not started:
            raise error
        case Answer(outcome=ModelyardError() as error):
            log.warning("a stream broke off: %s", error.message)
        case Answer() if started:
            await send({"type": "http.response.body", "body": b""})
        case Answer(outcome=Outcome(output)):
            await send_json(send, 200, {"error": None, "output": output})


async def tell_when_left(receive: Receive, events: asyncio.Queue[Event]) -> None:
    """Puts ClientLeft among the events when the client closes the connection. Start it after the body was read."""
    while (await receive())["type"] != "http.disconnect":
        continue
    events.put_nowait(ClientLeft())


async def read_body(receive: Receive, limit_bytes: int) -> bytes | None:
    """The whole body; None when the client left before its end. Raises BodyTooLarge."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit_bytes:
            raise BodyTooLarge(field="body", got="more", accepted=f"at most {limit_bytes} bytes")
        if not message.get("more_body"):
            return b"".join(parts)


async def send_json(send: Send, status: int, data: Any) -> None:
    """Sends a whole JSON answer."""
    payload = msgspec.json.encode(data)
    await send_start(send, status, JSON, ("content-length", str(len(payload))))
    await send({"type": "http.response.body", "body": payload})


async def send_start(send: Send, status: int, content_type: str, *more: tuple[str, str]) -> None:
    """Sends the status line and the headers."""
    headers = [("content-type", content_type), ("cache-control", "no-cache"), *more]
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": raw})


def serve(
    prepare: Prepare,
    listener: socket.socket,
    on_ready: Callable[[ReplicaSpec], None],
    library: ModelLibrary | None = None,
) -> None:
    """Serves on the bound `listener` until SIGINT or SIGTERM; answers from the first moment, 503 until it is ready.

    `library`: by default the real one. Raises the ModelyardError that kept the model from starting, or ended it.
    """
    asyncio.run(_serve(prepare, listener, on_ready, library or Runtimes()))


async def _serve(
    prepare: Prepare, listener: socket.socket, on_ready: Callable[[ReplicaSpec], None], library: ModelLibrary
) -> None:
    def on_change() -> None:
        if model.ready and model.spec is not None:
            on_ready(model.spec)
        else:
            server.should_exit = True

    model = SoloModel(library, on_change)
    config = uvicorn.Config(
        SoloApp(model),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACEFUL_S,
        server_header=False,
    )
    server = uvicorn.Server(config)
    boot = asyncio.create_task(model.boot(prepare), name="boot")
    try:
        await server.serve(sockets=[listener])
    finally:
        boot.cancel()
        await asyncio.gather(boot, return_exceptions=True)
        model.close()
    if model.error is not None:
        raise model.error
