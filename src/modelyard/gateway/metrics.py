"""`/metrics`: what this server does, in the text format of Prometheus. Owns the names of metrics and their labels.

Labels are bounded: models beyond the first so many are counted together, and no path, id or account is one. Counters
begin at 0 with the server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from modelyard import __version__
from modelyard.control.plane import Plane
from modelyard.control.tallies import Figures, MemoryUse, ModelLoad, add_loads
from modelyard.errors import InvalidRequest, OperatorOnly
from modelyard.gateway.operation import Operation
from modelyard.gateway.reading import read_query
from modelyard.gateway.shapes.metrics import MetricsQuery
from modelyard.protocol import Usage
from modelyard.records.accounts import Key
from modelyard.records.history import LATENCY_S
from modelyard.tallies import MOST_LABELS, OTHERS, ByLabel, Histogram

Models = Sequence[tuple[str, Any]]
"""By model, what is counted of it."""
Value = Callable[[Any], float]
"""Takes one number of that."""
CLIENT_LEFT = 499
"""The status of a request whose client left before its answer. Source: nginx, and dashboards made for it."""
FAILED = 500
"""From this status on it is a fault of the server's, not of who asked."""


@dataclass(slots=True)
class ModelTally:
    """What one model's inferences came to. `requests`: by surface and status. All times in seconds: `took` in all,
    `queued` without a replica, `first` until the first piece of a stream, `token` for each further token of one."""

    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    took: Histogram = field(default_factory=Histogram)
    queued: Histogram = field(default_factory=Histogram)
    first: Histogram = field(default_factory=Histogram)
    token: Histogram = field(default_factory=Histogram)
    prompt_tokens: int = 0
    new_tokens: int = 0

    def add(self, more: ModelTally) -> None:
        """Adds what was counted of the model elsewhere."""
        for kind, count in more.requests.items():
            self.requests[kind] = self.requests.get(kind, 0) + count
        for own, other in (
            (self.took, more.took),
            (self.queued, more.queued),
            (self.first, more.first),
            (self.token, more.token),
        ):
            own.add(other.counts, other.total)
        self.prompt_tokens += more.prompt_tokens
        self.new_tokens += more.new_tokens


@dataclass(slots=True)
class ClusterTally:
    """What the inferences of one account's model came to since they were last taken; see `ClusterPoint`."""

    requests: int = 0
    failed: int = 0
    waited_us: int = 0
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCY_S))

    def add(self, more: ClusterTally) -> None:
        """Adds what was counted of them elsewhere."""
        self.requests += more.requests
        self.failed += more.failed
        self.waited_us += more.waited_us
        self.latency.add(more.latency.counts, more.latency.total)


class InferenceTallies:
    """What all inferences came to, by model; and by account and model until somebody takes that. Added to by the loop
    thread only."""

    def __init__(self) -> None:
        self.models: ByLabel[ModelTally] = ByLabel(ModelTally)
        self._clusters: dict[tuple[str, str], ClusterTally] = {}

    def note(
        self, surface: str, model_id: str, status: int, took_s: float, usage: Usage | None, account_id: str = ""
    ) -> None:
        """Counts an inference that is over. `model_id`: empty where it ended before a model was found, as `account_id`
        where it did before that was known; `usage`: None where nothing was answered."""
        tally = self.models.of(model_id)
        kind = surface, status
        tally.requests[kind] = tally.requests.get(kind, 0) + 1
        tally.took.observe(took_s)
        if model_id and account_id:
            cluster = self._clusters.get((account_id, model_id))
            if cluster is None:
                cluster = self._clusters[account_id, model_id] = ClusterTally()
            cluster.requests += 1
            cluster.failed += status >= FAILED
            if usage is not None:
                cluster.waited_us += usage.queued_us
                cluster.latency.observe(took_s)
        if usage is None:
            return
        tally.queued.observe(usage.queued_us / 1e6)
        tally.prompt_tokens += usage.prompt_tokens or 0
        tally.new_tokens += usage.new_tokens or 0
        if usage.first_piece_us is not None:
            tally.first.observe((usage.queued_us + usage.first_piece_us) / 1e6)
            if usage.new_tokens is not None and usage.new_tokens > 1:
                tally.token.observe((usage.took_us - usage.first_piece_us) / 1e6 / (usage.new_tokens - 1))

    def add(self, models: Mapping[str, ModelTally], clusters: Mapping[tuple[str, str], ClusterTally]) -> None:
        """Adds what another process has counted."""
        for model_id, tally in models.items():
            self.models.of(model_id).add(tally)
        for key, cluster in clusters.items():
            self._clusters.setdefault(key, ClusterTally()).add(cluster)

    def take_models(self) -> dict[str, ModelTally]:
        """By model, what was counted since the last call. For who passes it on: nobody finds it here any more."""
        taken, self.models = dict(self.models.items()), ByLabel(ModelTally)
        return taken

    def take_clusters(self) -> dict[tuple[str, str], ClusterTally]:
        """By account and model, what was counted since the last call."""
        taken, self._clusters = self._clusters, {}
        return taken


class MetricCalls:
    """The handler over what counts."""

    def __init__(self, inferences: InferenceTallies, plane: Plane, operator_id: str) -> None:
        """`operator_id`: the account whose keys may read."""
        self._inferences = inferences
        self._plane = plane
        self._operator_id = operator_id

    def operations(self) -> Sequence[Operation]:
        """What can be asked."""
        return [
            Operation(
                path="/metrics",
                summary="What the server does, for Prometheus",
                tag="health",
                handler=self.metrics,
                answer=None,
                answer_types={"text/plain": {"type": "string"}},
                query=MetricsQuery,
                failures={403: "The key is of another account than the operator's."},
            )
        ]

    def app(self) -> Starlette:
        """The same on a port of its own, which asks for no key."""

        async def refuse(request: Request, error: Exception) -> Response:
            return PlainTextResponse(f"{error}\n", InvalidRequest.status)

        return Starlette(routes=[Route("/metrics", self.answer)], exception_handlers={InvalidRequest: refuse})

    async def metrics(self, request: Request, key: Key) -> Response:
        """All of it, for the operator. Raises OperatorOnly, InvalidRequest."""
        if key.account_id != self._operator_id:
            raise OperatorOnly("Metrics tell of all accounts; only keys of the operator's account may read them.")
        return await self.answer(request)

    async def answer(self, request: Request) -> Response:
        """All of it, whoever asks. The query's `names` chooses whose names are used. Raises InvalidRequest."""
        names = read_query(request, MetricsQuery).names
        collect = vllm_metrics if names == "vllm" else own_metrics
        text = await asyncio.to_thread(generate_latest, Page(collect, self._inferences, await self._plane.figures()))
        return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)


class Page:
    """What the client library asks for its metrics, in place of a registry of its own."""

    def __init__(
        self,
        collect: Callable[[InferenceTallies, Figures], Iterator[Metric]],
        inferences: InferenceTallies,
        figures: Figures,
    ) -> None:
        self._collect = collect
        self._inferences = inferences
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        yield from self._collect(self._inferences, self._figures)


def own_metrics(inferences: InferenceTallies, figures: Figures) -> Iterator[Metric]:
    """Under our own names."""
    yield info("modelyard_build", "The server's version.", {"version": __version__})
    yield from metrics_of_requests(inferences)
    yield from metrics_of_replicas(figures)
    yield from metrics_of_memory(figures)
    yield gauge("modelyard_unwritten_records", "Records that wait for the database.", figures.unwritten)
    yield gauge("modelyard_unwritten_seconds", "For how long the oldest of them has waited, at most.", figures.lag_s)


def metrics_of_requests(inferences: InferenceTallies) -> Iterator[Metric]:
    """What inferences came to."""
    tallies = inferences.models.items()
    requests = CounterMetricFamily(
        "modelyard_requests",
        f"Inferences that are over; status {CLIENT_LEFT}: their client left.",
        labels=("surface", "model", "status"),
    )
    for model, tally in tallies:
        for (surface, status), count in list(tally.requests.items()):
            requests.add_metric((surface, model, str(status)), count)
    yield requests
    yield histogram("modelyard_request_seconds", "Of an inference, in all.", tallies, lambda each: each.took)
    yield histogram("modelyard_queue_seconds", "Until a replica had room for it.", tallies, lambda each: each.queued)
    yield histogram(
        "modelyard_first_piece_seconds", "Of a stream, until its first piece.", tallies, lambda each: each.first
    )
    yield histogram(
        "modelyard_token_seconds",
        "Of a stream, for each token after its first piece.",
        tallies,
        lambda each: each.token,
    )
    yield counter("modelyard_prompt_tokens", "Tokens that models read.", tallies, lambda each: each.prompt_tokens)
    yield counter("modelyard_new_tokens", "Tokens that models wrote.", tallies, lambda each: each.new_tokens)


def metrics_of_replicas(figures: Figures) -> Iterator[Metric]:
    """What there is and what has become of it."""
    yield gauge("modelyard_warm", "1 once boots are quick.", float(figures.warm))
    yield gauge("modelyard_clusters", "Clusters of all accounts.", figures.clusters)
    loads = bounded(figures.models)
    yield gauges("modelyard_requests_in_flight", "On replicas.", loads, lambda load: load.in_flight)
    yield gauges("modelyard_requests_queued", "Waiting for a replica.", loads, lambda load: load.queued)
    replicas = GaugeMetricFamily("modelyard_replicas", "Replicas there are.", labels=("model", "state"))
    for model, load in loads:
        for state, count in load.replicas.items():
            replicas.add_metric((model, state), count)
    yield replicas
    tallies = figures.tallies.replicas.items()
    yield histogram(
        "modelyard_boot_seconds", "From a replica's launch until it was ready.", tallies, lambda each: each.boots
    )
    yield counter("modelyard_replica_failures", "Replicas that failed.", tallies, lambda each: each.failures)
    yield histogram("modelyard_batch_size", "Inferences in one batch.", tallies, lambda each: each.batches)
    yield counter("modelyard_batch_places", "Inferences these had place for.", tallies, lambda each: each.places)
    yield metrics_of_caches(loads)
    evictions = CounterMetricFamily("modelyard_evictions", "Replicas that had to make room for others.")
    evictions.add_metric((), figures.tallies.evictions)
    yield evictions


def metrics_of_caches(loads: Models) -> Metric:
    """What models keep of texts between two of their tokens."""
    tokens = GaugeMetricFamily("modelyard_cache_tokens", "Tokens in models' caches.", labels=("model", "kind"))
    for model, load in loads:
        if (cache := load.cache) is not None:
            for kind, count in (("used", cache.used), ("kept", cache.kept), ("room", cache.room)):
                tokens.add_metric((model, kind), count)
    return tokens


def metrics_of_memory(figures: Figures) -> Iterator[Metric]:
    """What replicas may hold, what is reserved for them, and what they hold."""
    memory = GaugeMetricFamily("modelyard_memory_bytes", "Memory of a node, for replicas.", labels=("node", "kind"))
    for node, each in figures.nodes.items():
        for kind, count in kinds_of(each):
            memory.add_metric((node, kind), count)
    yield memory
    on_devices = GaugeMetricFamily(
        "modelyard_device_memory_bytes", "Memory of an accelerator, for replicas.", labels=("node", "device", "kind")
    )
    for node, each in figures.nodes.items():
        for device, memory_there in each.devices.items():
            for kind, count in kinds_of(memory_there):
                on_devices.add_metric((node, device, kind), count)
    yield on_devices


def kinds_of(memory: MemoryUse) -> Iterable[tuple[str, int]]:
    """Its figures, by the label that tells them apart."""
    return (("budget", memory.budget), ("reserved", memory.reserved), ("held", memory.held))


def vllm_metrics(inferences: InferenceTallies, figures: Figures) -> Iterator[Metric]:
    """Under the names that dashboards for vLLM look for, as far as there is such a thing here."""
    label, tallies, loads = "model_name", inferences.models.items(), bounded(figures.models)
    yield gauges("vllm:num_requests_running", "On replicas.", loads, lambda load: load.in_flight, label)
    yield gauges("vllm:num_requests_waiting", "Waiting for a replica.", loads, lambda load: load.queued, label)
    cached = [(model, load.cache) for model, load in loads if load.cache is not None and load.cache.room]
    what = "Part of the caches that texts being written have; 1 is all."
    yield gauges("vllm:kv_cache_usage_perc", what, cached, lambda cache: cache.used / cache.room, label)
    yield counter("vllm:prompt_tokens", "Tokens read.", tallies, lambda each: each.prompt_tokens, label)
    yield counter("vllm:generation_tokens", "Tokens written.", tallies, lambda each: each.new_tokens, label)
    yield counter("vllm:request_success", "Inferences answered.", tallies, count_answered, label)
    for name, what, of in (
        ("time_to_first_token", "Until the first piece.", lambda each: each.first),
        ("inter_token_latency", "Between tokens.", lambda each: each.token),
        ("request_queue_time", "Until a replica had room.", lambda each: each.queued),
        ("e2e_request_latency", "In all.", lambda each: each.took),
    ):
        yield histogram(f"vllm:{name}_seconds", what, tallies, of, label)


def count_answered(tally: ModelTally) -> int:
    """How many requests got what they asked for."""
    return sum(count for (_, status), count in list(tally.requests.items()) if status == 200)


# --- from numbers to the library's types ---


def info(name: str, what: str, labels: Mapping[str, str]) -> Metric:
    """A constant 1 whose labels tell something."""
    return InfoMetricFamily(name, what, value=dict(labels))


def gauge(name: str, what: str, value: float) -> Metric:
    """A number that goes up and down."""
    return GaugeMetricFamily(name, what, value=value)


def bounded(loads: Mapping[str, ModelLoad]) -> Sequence[tuple[str, ModelLoad]]:
    """By model, those beyond the first MOST_LABELS together."""
    named, others = (list(loads.items())[part] for part in (slice(MOST_LABELS), slice(MOST_LABELS, None)))
    return [*named, (OTHERS, reduce(add_loads, (load for _, load in others)))] if others else named


def gauges(name: str, what: str, models: Models, value: Value, label: str = "model") -> Metric:
    """Such a number for each model."""
    return with_models(GaugeMetricFamily(name, what, labels=(label,)), models, value)


def counter(name: str, what: str, models: Models, value: Value, label: str = "model") -> Metric:
    """A number for each model that only grows; its name gets the ending `_total`."""
    return with_models(CounterMetricFamily(name, what, labels=(label,)), models, value)


def with_models(
    family: GaugeMetricFamily | CounterMetricFamily, models: Models, value: Value
) -> GaugeMetricFamily | CounterMetricFamily:
    """The family with each model's value."""
    for model, each in models:
        family.add_metric((model,), value(each))
    return family


def histogram(name: str, what: str, tallies: Models, of: Callable[[Any], Histogram], label: str = "model") -> Metric:
    """How often values fell up to each bound, for each model that has any."""
    family = HistogramMetricFamily(name, what, labels=(label,))
    for model, tally in tallies:
        each = of(tally)
        counts, total = list(each.counts), each.total
        if any(counts):
            family.add_metric((model,), buckets_of(each.bounds, counts), sum_value=total)
    return family


def buckets_of(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Each bound with how many lie up to it, as the format wants it."""
    buckets, below = [], 0
    for bound, count in zip([*map(str, bounds), "+Inf"], counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets
