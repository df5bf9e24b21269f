"""One inference, whatever surface it came through: admitted, read, run, metered and shown, in one order, once.

The order of the checks: key, records, rate, funds, requests at once, body, cluster (where the surface makes none),
model, task, fields, media. Nothing is queued, and no cluster made, before all of them hold.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from modelyard.accounts.aliases import Aliases
from modelyard.accounts.pricing import price
from modelyard.control.plane import InferencePlane
from modelyard.control.routes import Route
from modelyard.errors import InferenceFailed, InputTooLarge, InvalidRequest, NotFound, Throttled, Unavailable
from modelyard.gateway import problem
from modelyard.gateway.admission import Admission
from modelyard.gateway.closed_models import ClosedModels
from modelyard.gateway.deadline import Deadline, Deadlines, find_body_timeout_s, find_timeout_s
from modelyard.gateway.destinations.base import Destination, OnPiece
from modelyard.gateway.media import needs_resolving, resolve
from modelyard.gateway.metering import NOTHING, Metering
from modelyard.gateway.metrics import CLIENT_LEFT, InferenceTallies
from modelyard.gateway.model_request import ModelRequest, meter_headers
from modelyard.gateway.observer import Observed, Observer
from modelyard.gateway.request_memory import RequestMemory
from modelyard.gateway.requests import new_request_id
from modelyard.gateway.slow_readers import SlowReaders
from modelyard.gateway.surfaces.base import Payload, Surface, UnifiedBody
from modelyard.http.exchange import JSON, ClientLeft, HttpExchange
from modelyard.media.fetch import Fetcher
from modelyard.protocol import CalledPiece, Outcome, Thought, Usage
from modelyard.records.accounts import Key
from modelyard.records.aliases import Alias
from modelyard.records.models import ModelCard, check_model_id
from modelyard.tasks import body as bodies
from modelyard.tasks.base import Task
from modelyard.tasks.body import Inference
from modelyard.tasks.registry import TASKS, find_task
from modelyard.telemetry.spans import Kind, Span

MOST_MODELS = 8
"""That one request may name beside the first."""
FALLS_BACK = (Throttled, Unavailable, InferenceFailed)
"""After these the next model is asked that a request names: it was a good request, and this one could not answer."""


class Inferences:
    """Runs every surface's inferences. Loop thread only."""

    def __init__(
        self,
        admission: Admission,
        aliases: Aliases,
        plane: InferencePlane,
        destination: Destination,
        fetcher: Fetcher,
        metering: Metering,
        memory: RequestMemory,
        slow_readers: SlowReaders,
        tallies: InferenceTallies,
        closed_models: ClosedModels,
        *,
        price_per_gb_s: float,
        timeout_s: float,
        observer: Observer | None = None,
    ) -> None:
        """`price_per_gb_s`: US dollars for one GB of a model's memory and second. `timeout_s`: most that a request may
        take in all. `observer`: follows each of them; None: nobody wants traces or lines."""
        self._admission = admission
        self._aliases = aliases
        self._plane = plane
        self._destination = destination
        self._fetcher = fetcher
        self._metering = metering
        self._memory = memory
        self._slow_readers = slow_readers
        self._tallies = tallies
        self._closed_models = closed_models
        self._price_per_gb_s = price_per_gb_s
        self._deadlines = Deadlines(timeout_s)
        self._observer = observer

    async def serve(self, http: HttpExchange, surface: Surface, model_id: str | None = None) -> None:
        """Answers one request of a surface, whatever becomes of it. `model_id`: what its path names, if it does."""
        client = ClientRequest(http, surface)
        if self._observer is not None:
            client.observed = self._observer.begin(http, surface, client.headers["x-request-id"])
        deadline = self._deadlines.begin(client.refuse)
        usage, status, account_id = None, CLIENT_LEFT, ""
        self._slow_readers.add(http)
        try:
            key, under_way = await self._admission.admit(http, client.headers)
            account_id = key.account_id
            if client.observed is not None:
                client.observed.account_id = account_id
            with under_way, self._memory.of(key.account_id) as share:
                http.grow = share.grow
                async with deadline:
                    usage = await self._serve_admitted(client, deadline, key, model_id)
                    status = 200
        except ClientLeft:
            return
        except Exception as error:  # noqa: BLE001 - the border where every error becomes an answer
            status = surface.error_shape.status_of(error)
            problem.note(error, client.headers["x-request-id"])
            await client.refuse(error)
        finally:
            self._slow_readers.remove(http)
            took_s = time.monotonic() - deadline.began
            self._tallies.note(surface.name, client.asked_model, status, took_s, usage, account_id)
            if client.observed is not None:
                client.observed.end(client.asked_model, status, took_s, usage)

    async def run(self, request: ModelRequest, on_piece: OnPiece | None = None) -> Outcome:
        """Runs one inference that was read and checked; what it took is metered however it ends.

        Cancelling it cancels the work. Raises PaymentRequired, and what the destination raises.
        """
        metered = self._metering.request(request.id, request.key, request.card.model_id, request.cost)
        if metered.reserves:
            await metered.reserve()
        with metered:
            return await self._destination.run(request, on_piece, metered.spent)

    async def _serve_admitted(self, client: ClientRequest, deadline: Deadline, key: Key, model_id: str | None) -> Usage:
        """Answers a request; what it took. Raises what becomes an answer."""
        read = await self._read(client, deadline, key, model_id)
        client.is_read = True
        if read.models is None:
            return await self._ask(client, deadline, key, read, read.model_id)
        return await self._ask_in_turn(client, deadline, key, read)

    async def _ask_in_turn(self, client: ClientRequest, deadline: Deadline, key: Key, read: UnifiedBody) -> Usage:
        """The models that a request names, until one answers. Raises what the last one of them did."""
        names = names_of(read)
        for name in names[:-1]:
            try:
                return await self._ask(client, deadline, key, read, name)
            except FALLS_BACK as error:
                if client.http.started or isinstance(error, InputTooLarge):
                    raise
                client.rename()  # of each try there is a record
        return await self._ask(client, deadline, key, read, names[-1])

    async def _ask(self, client: ClientRequest, deadline: Deadline, key: Key, read: UnifiedBody, name: str) -> Usage:
        """Has the model called `name` answer; what it took."""
        request = await self._read_for(client, deadline, key, read, name)
        client.asked_model, client.asked = request.card.model_id, request.asked
        with client.http.until_client_leaves():
            return await (self._stream if request.inference.stream else self._answer)(client, request)

    # --- before it runs ---

    async def _read(self, client: ClientRequest, deadline: Deadline, key: Key, model_id: str | None) -> UnifiedBody:
        """The request as its surface reads it. Raises InvalidRequest, ClientLeft."""
        http, surface = client.http, client.surface
        if (timeout_s := find_timeout_s(http)) is not None:
            deadline.shorten(timeout_s)
        read = await surface.read(http, model_id)
        if surface.recalls:
            read = await surface.recall(read, key.account_id, http)
        if (timeout_s := find_body_timeout_s(read.body)) is not None:
            deadline.shorten(timeout_s)
        return read

    async def _read_for(
        self, client: ClientRequest, deadline: Deadline, key: Key, read: UnifiedBody, name: str
    ) -> ModelRequest:
        """What the request asks of the model called `name`. Where there are several, the `inference-model` header says
        which answers.

        Raises UnknownModel, UnknownCluster, ModelRefused, InvalidRequest, ClientLeft, ProviderKeyRefused.
        """
        route: Route | None = None
        http, surface, headers, account_id = client.http, client.surface, client.headers, key.account_id
        alias = self._aliases.find(account_id, name)
        name = name if alias is None else alias.model_id
        closed = self._closed_models.find(http, name, surface.asks)
        if closed is not None:
            card, task = closed.card, closed.task
        else:
            model_id = check_model_id(name)
            if not surface.makes_clusters:
                route = await self._plane.get_route(account_id, model_id)
            card = self._plane.find_model(account_id, model_id) or await self._plane.get_model(account_id, model_id)
            task = get_served_task(card)
        if alias is not None:
            check_alias_task(alias, task)
        if read.models is not None:
            headers["inference-model"] = card.model_id
        body = surface.fields(read, task)
        inference = bodies.read(task, body)
        span = None if client.observed is None else client.observed.span
        if needs_resolving(inference.fields):
            inference = await self._resolve(http, task, inference, span)
        return ModelRequest(
            id=headers["x-request-id"],
            key=key,
            card=card,
            task=task,
            inference=inference,
            body=body,
            cost=price(card.memory_bytes, self._price_per_gb_s) if closed is None else closed.cost(inference),
            deadline=deadline,
            asked=read.asked,
            route=route,
            capacity=None if alias is None else alias.capacity,
            provider_key=None if closed is None else closed.key,
            span=span,
        )

    async def _resolve(self, http: HttpExchange, task: Task, inference: Inference, above: Span | None) -> Inference:
        """An inference with its media fetched. Raises InvalidRequest, ClientLeft."""
        span = None if above is None else above.open("media", Kind.CLIENT)
        context = None if span is None else span.context
        with http.until_client_leaves():
            fields = await resolve(inference.fields, task.media, self._fetcher, http.grow, context)
        if span is not None:
            span.end()
        return replace(inference, fields=fields)

    # --- while it runs, and after ---

    async def _answer(self, client: ClientRequest, request: ModelRequest) -> Usage:
        """Sends the whole answer; what it took."""
        outcome = await self.run(request)
        request.deadline.stop()
        payload = await client.surface.answer(client.http, request, outcome)
        await client.send_whole(payload, meter_headers(request.cost, outcome.usage))
        return outcome.usage

    async def _stream(self, client: ClientRequest, request: ModelRequest) -> Usage:
        """Sends the pieces of an answer as they are made; what it took."""
        http, surface = client.http, client.surface

        async def send_piece(text: str) -> None:
            if isinstance(text, CalledPiece):
                if called := surface.called(request, text):
                    await send(called)
            elif not isinstance(text, Thought):
                await send(surface.piece(request, text))
            elif thought := surface.thought(request, text):
                await send(thought)

        async def send(data: bytes) -> None:
            if not http.started:
                await http.start_stream(surface.stream_type, {**client.headers, **meter_headers(request.cost, NOTHING)})
                data = surface.opening(request) + data
            if data:
                await http.send_chunk(data)

        outcome = await self.run(request, send_piece)
        request.deadline.stop()
        payload = await surface.answer(http, request, outcome)
        await send(payload.data)
        await http.end_stream()
        return outcome.usage


class ClientRequest:
    """One request as its client knows it: its exchange, its surface and the headers of its answer. `asked_model`,
    `asked`: the id of the model that it asks, and what its surface wants to know again of it (see UnifiedBody), once
    they are known. `is_read`: what is wrong from now on is wrong with fields of the unified body. `observed`: None:
    nobody follows it."""

    __slots__ = ("asked", "asked_model", "headers", "http", "is_read", "observed", "surface")

    def __init__(self, http: HttpExchange, surface: Surface) -> None:
        self.http = http
        self.surface = surface
        self.headers = {"x-request-id": new_request_id()}
        self.is_read = False
        self.asked_model = ""
        self.asked: Any = None
        self.observed: Observed | None = None

    def rename(self) -> None:
        """Gives it another id."""
        self.headers["x-request-id"] = request_id = new_request_id()
        if self.observed is not None:
            self.observed.rename(request_id)

    async def refuse(self, error: BaseException) -> None:
        """Tells the client of an error, as far as its answer has got."""
        http, surface, headers = self.http, self.surface, self.headers
        if self.is_read:
            error = surface.rename(error, self.asked)
        if not http.started:
            payload = surface.error(error, headers["x-request-id"], self.asked)
            status = surface.error_shape.status_of(error)
            await http.send_json(status, payload, {**headers, **problem.headers_of(error)})
        elif http.streaming and (last := surface.stream_error(error, headers["x-request-id"], self.asked)):
            http.streaming = False
            await http.send_chunk(last)
            await http.end_stream()
        # Else returning without ending what has begun breaks the connection: what is wanted.

    async def send_whole(self, payload: Payload, more: Mapping[str, str]) -> None:
        """Sends an answer in one piece. `more`: headers beside those that are known."""
        headers = {**self.headers, **more}
        if payload.content_type is JSON:
            await self.http.send_json(200, payload.data, headers)
        else:
            await self.http.send_bytes(payload.content_type, payload.data, headers)


def names_of(read: UnifiedBody) -> list[str]:
    """The models to ask, in this order, until one answers. Raises InvalidRequest."""
    names = read.models
    if not isinstance(names, list) or len(names) > MOST_MODELS or not all(isinstance(each, str) for each in names):
        raise InvalidRequest(field="models", got=names, accepted=f"a list of up to {MOST_MODELS} of org/name")
    return list(dict.fromkeys([read.model_id, *names]))


def get_served_task(card: ModelCard) -> Task:
    """The adapter of a model's task. Raises NotFound."""
    task = find_task(card.task)
    if task is None:
        raise NotFound(
            f"{card.model_id} is a model for {card.task}, which this server cannot run; it runs: "
            f"{', '.join(each.id for each in TASKS)}."
        )
    return task


def check_alias_task(alias: Alias, task: Task) -> None:
    """Raises InvalidRequest where an alias is for another task than its model has."""
    if alias.task is not None and alias.task != task.id:
        raise InvalidRequest(
            f"model: {alias.name} is an alias for a model for {alias.task}; {alias.model_id} is one for {task.id}.",
            field="model",
        )
