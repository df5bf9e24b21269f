"""Models as lists show them, and what a list can be narrowed by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, cast

from msgspec import UNSET, Meta, UnsetType

from modelyard.accounts.pricing import TOKENS, Price, price
from modelyard.catalog.provided import PROVIDER
from modelyard.gateway.remedies import describe_refusal
from modelyard.gateway.shapes.base import Answer, Shape, described
from modelyard.money import PICO
from modelyard.records.models import Listing, Source, runtime_of
from modelyard.store.models import PUBLISHED
from modelyard.units import GIB

MemorySource = Literal["measured", "estimated", "published"]
RuntimeName = Literal["transformers", "diffusers", "onnx", "openvino", "gguf", "static"]
ListingSource = Literal["folder", "hub", "published", "requested", "variant", "provider"]
UNITS = {
    "read_token": "readToken",
    "cached_token": "cachedToken",
    "new_token": "newToken",
    "image": "image",
    "character": "character",
    "second": "second",
}
"""What providers charge for → its name in a list."""
DEFAULT_LIMIT = 250
"""As many as are read, shaped and sent within 20 ms; `benchmarks/catalogue.py` measures it."""
MAX_RAM_GB = 1_000_000
MAX_LIMIT = 10_000
"""About 4 MB of JSON."""


class Benchmark(Shape, frozen=True, kw_only=True):
    """What this server's benchmark found."""

    load_time: Annotated[float, described("Seconds from launch to ready.")]
    latency: Annotated[Mapping[str, float], described("Seconds that one request takes, by its size.")]
    largest: Annotated[str, described("The largest size that was asked.")]
    requests_per_second: Annotated[float, described("Of the largest size, one by one.")]
    requests_per_second_batched: Annotated[float, described("Of the largest size, in batches.")]
    batch: Annotated[int, described("Requests in a batch beyond which more pay no longer.")]
    ram: Annotated[float | None, described("GB that its worker held at most in such batches.")]
    ram_one_by_one: Annotated[
        float | None,
        described("The same while requests ran one by one; models whose batches differ compare by it."),
    ]
    tokens_per_second: Annotated[float | None, described("New tokens, of models that write text.")]
    first_token: Annotated[float | None, described("Seconds to the first piece, of models that stream.")]
    streams: Annotated[bool, described("Whether it streams.")]
    notes: Annotated[Sequence[str], described("What the figures do not say.")]


class Adapter(Shape, frozen=True, kw_only=True):
    """What an adapter of PEFT is."""

    base: Annotated[str, described("The model that it changes.")]
    type: Annotated[str, described("PEFT's name of its type, such as LORA.")]
    rank: Annotated[int | None, described("Of its matrices, where it has some.")]
    target_modules: Annotated[Sequence[str], described("The layers that it changes, as its config names them.")]


class ServedForm(Shape, frozen=True, kw_only=True):
    """Which of a model's forms replicas load, where several were measured here."""

    variant: Annotated[str | None, described("The variant, such as onnx, or null: the model as it is.")]
    why: Annotated[str, described("The figures that it was chosen by.")]


class Model(Shape, frozen=True, kw_only=True):
    """A model this server can run, or says why not."""

    model_id: Annotated[str, described("org/name, or an alias of yours.")]
    task: Annotated[str | None, described("What it does.")]
    params: Annotated[float | None, described("Parameters, in billions.")]
    ram_required: Annotated[float | None, described("GB of memory one instance needs.")]
    memory_source: Annotated[
        MemorySource | None,
        described("How ramRequired is known: measured or estimated here, or published by the hosted service."),
    ]
    meter: Annotated[str | None, described("Price tier, by required memory.")]
    meter_price: Annotated[float | None, described("US dollars per second of one instance.")]
    benchmarked: Annotated[bool, described("Whether ramRequired was measured, by whomever; else it is an estimate.")]
    benchmark: Annotated[Benchmark | None, described("What this server's benchmark found; null where none has run.")]
    architecture: Annotated[str | None, described("The model class its config names.")]
    runtime: Annotated[
        RuntimeName | None,
        described(
            "What holds the model as it is; see servedForm. Null where its files were not seen, or are elsewhere."
        ),
    ]
    source: Annotated[
        ListingSource,
        described(
            "Who says so: its files in a folder or on the hub, the list of published models, or a request for it; "
            "variant: it was made here from another model; provider: a closed model, which only its provider runs."
        ),
    ]
    revision: Annotated[str | None, described("The hub's commit.")]
    license: Annotated[str | None, described("As its card says.")]
    variants: Annotated[
        Sequence[str],
        described("The models made from it, such as org/name.onnx.8-bit, and files of it that were asked for."),
    ]
    variant_of: Annotated[str | None, described("The model it was made from, or whose file it is.")]
    quality: Annotated[
        Mapping[str, float] | None,
        described("Of a variant: how near its answers are to its original's, on texts and pictures; null for others."),
    ]
    warning: Annotated[str | None, described("What to know of its answers before it is used; null: nothing.")]
    served_form: Annotated[
        ServedForm | None,
        described(
            "What replicas load where that was measured to be better than the model as it is, or not; else null."
        ),
    ]
    alias_of: Annotated[str | None, described("Of an alias of yours: the model that it stands for; else null.")]
    adapter: Annotated[Adapter | None, described("Of an adapter: what it changes, and how; null for whole models.")]
    files: Annotated[Sequence[str], described("Its GGUF files, by the label that chooses one: org/name:LABEL.")]
    provider: Annotated[str | None, described("Of a closed model: who runs it; null for others.")]
    context_length: Annotated[int | None, described("The most tokens that it reads, where that is known.")]
    prices: Annotated[
        Mapping[str, float] | None,
        described(
            "Of a closed model: what its provider charges in US dollars for each token read (readToken), read before "
            "(cachedToken) and written (newToken), image, character read aloud and second heard; null for others."
        ),
    ]
    error: Annotated[str | None, described("Why it cannot be served, and what to do.")]


class ModelsAnswer(Answer[Sequence[Model]], frozen=True, kw_only=True):
    """A page of models."""

    output: Annotated[Sequence[Model], described("The models, by id.")]
    next: Annotated[str | UnsetType, described("Where there are more models: the id to send as `after`.")] = UNSET


class PageQuery(Shape, frozen=True, kw_only=True):
    """What a list of models is narrowed by, and how it is paged."""

    task: Annotated[str | None, described("Only models of this task.")] = None
    search: Annotated[str | None, described("Only models whose id contains this, in any case.")] = None
    license: Annotated[str | None, described("Only models under this licence, as their cards spell it.")] = None
    runtime: Annotated[RuntimeName | None, described("Only models that this runtime holds.")] = None
    max_ram: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_RAM_GB)] | None,
        described("Only models that need at most so many GB, as far as that is known.", accepted="GB, 0 or more"),
    ] = None
    here: Annotated[
        bool | None,
        described(
            "true: only models of this server: of its folders, fetched, made or measured here, and your aliases; "
            "false: only the others, which are published, or run by providers.",
        ),
    ] = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT), described("At most this many.")] = DEFAULT_LIMIT
    after: Annotated[str | None, described("Only models that follow this id.")] = None


class ModelsQuery(PageQuery, frozen=True, kw_only=True):
    """The same, or one model."""

    model_id: Annotated[str | None, described("Only this model, wherever it is; an unknown one: an empty list.")] = None


def show_model(listing: Listing, variants: Sequence[str], usd_per_gb_s: float, alias_of: str | None) -> Model:
    """A model as v2 lists it. `alias_of`: the model that its name stands for, where that is an alias."""
    memory_bytes, parameters = listing.memory_bytes, listing.parameters
    cost = None if memory_bytes is None else price(memory_bytes, usd_per_gb_s)
    return Model(
        model_id=listing.model_id,
        task=listing.task,
        params=None if parameters is None else round(parameters / 1e9, 6),
        ram_required=in_gb(memory_bytes),
        memory_source=cast(MemorySource | None, listing.memory_source),
        meter=meter_of(listing, cost),
        meter_price=None if cost is None else cost.usd_per_s,
        benchmarked=is_benchmarked(listing),
        benchmark=find_benchmark(listing),
        architecture=listing.architecture,
        runtime=find_runtime(listing),
        source=cast(ListingSource, listing.source),
        revision=listing.revision,
        license=listing.license,
        variants=variants,
        variant_of=listing.variant_of,
        quality=listing.facts.get("quality"),
        warning=listing.facts.get("warning"),
        served_form=find_served_form(listing),
        alias_of=alias_of,
        adapter=find_adapter(listing),
        files=listing.facts.get("files", ()),
        provider=listing.facts.get(PROVIDER),
        context_length=find_context(listing),
        prices=find_prices(listing),
        error=describe_refusal(listing),
    )


def meter_of(listing: Listing, cost: Price | None) -> str | None:
    """How the model is billed."""
    if listing.source == Source.PROVIDER:
        return TOKENS
    return None if cost is None else cost.meter


def find_runtime(listing: Listing) -> RuntimeName | None:
    """What holds a model whose files have been seen."""
    library = listing.facts.get("library")
    return None if library is None else cast(RuntimeName, runtime_of(library))


def find_context(listing: Listing) -> int | None:
    """The most tokens that a model reads."""
    length = listing.facts.get("max_length")
    return length if isinstance(length, int) else None


def find_prices(listing: Listing) -> Mapping[str, float] | None:
    """A closed model's prices."""
    found: Mapping[str, int] | None = listing.facts.get("prices_pico")
    return None if found is None else {UNITS[name]: amount / PICO for name, amount in found.items()}


def in_gb(size_bytes: int | None) -> float | None:
    """As clients read it."""
    return None if size_bytes is None else round(size_bytes / GIB, 4)


def is_benchmarked(listing: Listing) -> bool:
    """Whether somebody has benchmarked the model: this server, or the one that published its memory."""
    return listing.memory_source == PUBLISHED or "benchmark" in listing.facts


def find_adapter(listing: Listing) -> Adapter | None:
    """What an adapter is; None for whole models."""
    found: Mapping[str, Any] | None = listing.facts.get("adapter")
    if found is None:
        return None
    return Adapter(base=found["base"], type=found["type"], rank=found["rank"], target_modules=found["targetModules"])


def find_served_form(listing: Listing) -> ServedForm | None:
    """Which form serves, None where only one was measured."""
    found: Mapping[str, Any] | None = listing.facts.get("form")
    return None if found is None else ServedForm(variant=found["variant"], why=found["why"])


def find_benchmark(listing: Listing) -> Benchmark | None:
    """What this server's benchmark of the model found, None where none has run."""
    found: Mapping[str, Any] | None = listing.facts.get("benchmark")
    if found is None:
        return None
    return Benchmark(
        load_time=found["load_s"],
        latency={name: milliseconds / 1000 for name, milliseconds in found["latency_ms"].items()},
        largest=found["largest"],
        requests_per_second=found["requests_per_s"],
        requests_per_second_batched=found["requests_per_s_at_knee"],
        batch=found["knee"],
        ram=in_gb(found["peak_bytes"]),
        ram_one_by_one=in_gb(found.get("peak_bytes_alone")),
        tokens_per_second=found["tokens_per_s"],
        first_token=None if found["first_token_ms"] is None else found["first_token_ms"] / 1000,
        streams=found["streams"],
        notes=found["notes"],
    )
