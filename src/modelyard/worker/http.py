"""One model alone, over plain HTTP: `POST /run` takes the inference body, `GET /health` is 503 until it is ready.

Owns the ASGI application, the model's thread and the process's exit code. Answers as the v2 surface does; knows no
database, no keys and no clusters. Where the model's files come from is its caller's business.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from enum import StrEnum
from typing import Any

import msgspec
import uvicorn

from modelyard.errors import BodyTooLarge, ModelyardError, NotFound, Unavailable
from modelyard.protocol import Outcome
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks import body as bodies
from modelyard.tasks.base import Task
from modelyard.tasks.registry import get_task
from modelyard.worker.boot import Runtimes, last_words
from modelyard.worker.progress import StepLog
from modelyard.worker.schedulers.batches import Batcher
from modelyard.worker.server import RunningCall

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


class Phase(StrEnum):
    """How far the worker has got, as `/health` says it."""

    PREPARING = "preparing"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


class SoloModel:
    """The model on its own thread. All methods belong to the event loop's thread, `_live` excepted."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """`on_change` is called on the loop's thread when the phase has become READY or FAILED."""
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._batcher: Batcher | None = None
        self.phase = Phase.PREPARING
        self.spec: ReplicaSpec | None = None
        self.error: ModelyardError | None = None

    async def boot(self, prepare: Prepare) -> None:
        """Fetches the files, then loads them on the model's thread. A failure becomes `error`."""
        try:
            self.spec = spec = await prepare()
            task = get_task(spec.task)
        except ModelyardError as error:
            self._failed(error)
            return
        self.phase = Phase.LOADING
        threading.Thread(target=self._live, args=(spec, task), name="model", daemon=True).start()

    def serving(self) -> tuple[Task, Batcher]:
        """What a request needs. Raises Unavailable until the model is ready."""
        if self.spec is None or self._batcher is None:
            raise Unavailable(f"The model is not ready yet: {self.phase}. GET /health says when it is.")
        return self._batcher.task, self._batcher

    def close(self) -> None:
        """Lets the model's thread end; what still waits fails."""
        if self._batcher is not None:
            self._batcher.close()

    def _live(self, spec: ReplicaSpec, task: Task) -> None:
        """The model's thread, from loading to the end."""
        workshop = Runtimes()
        try:
            workshop.set_threads(spec.threads)
            model = workshop.load(spec, task)
        except Exception as error:
            log.exception("loading %s failed", spec.model_id)
            failure = error if isinstance(error, ModelyardError) else Unavailable(last_words(error))
            self._loop.call_soon_threadsafe(self._failed, failure)
            return
        # What was allocated so far lives as long as the process: keep it out of every later collection.
        gc.collect()
        gc.freeze()
        batcher = Batcher(task, model)
        self._loop.call_soon_threadsafe(self._ready, batcher)
        batcher.run()

    def _ready(self, batcher: Batcher) -> None:
        self._batcher = batcher
        self.phase = Phase.READY
        self._on_change()

    def _failed(self, error: ModelyardError) -> None:
        self.error = error
        self.phase = Phase.FAILED
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
        await send_json(send, 200 if model.phase is Phase.READY else 503, report)

    async def _run(self, receive: Receive, send: Send) -> None:
        raw = await read_body(receive, MAX_BODY_BYTES)
        if raw is None:
            return
        task, batcher = self._model.serving()
        inference = bodies.read(task, bodies.decode_object(raw))
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        running = RunningCall()

        def emit(text: str) -> None:
            loop.call_soon_threadsafe(events.put_nowait, text)

        def deliver(outcome: Outcome | ModelyardError) -> None:
            loop.call_soon_threadsafe(events.put_nowait, Answer(outcome))

        call = bodies.to_call(
            task,
            inference.fields,
            inference.params,
            emit=emit if inference.stream else None,
            cancelled=running.cancelled,
            progress=StepLog(task.id),
        )
        watch = asyncio.create_task(tell_when_left(receive, events), name="client")
        try:
            batcher.submit(call, deliver)
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


def serve(prepare: Prepare, listener: socket.socket, on_ready: Callable[[ReplicaSpec], None]) -> None:
    """Serves on the bound `listener` until SIGINT or SIGTERM; answers from the first moment, 503 until it is ready.

    Raises the ModelyardError that kept the model from starting.
    """
    asyncio.run(_serve(prepare, listener, on_ready))


async def _serve(prepare: Prepare, listener: socket.socket, on_ready: Callable[[ReplicaSpec], None]) -> None:
    def on_change() -> None:
        if model.phase is Phase.READY and model.spec is not None:
            on_ready(model.spec)
        else:
            server.should_exit = True

    model = SoloModel(on_change)
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
