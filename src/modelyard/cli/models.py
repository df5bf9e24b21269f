"""`modelyard ls`, `models show` and `pull`: which models there are, what one is, and getting it onto this machine."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import output, problems
from modelyard.cli.client import Client, open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, ModelId, Url
from modelyard.config import Resolved, Settings
from modelyard.errors import ModelRefused
from modelyard.records.adapters import describe_adapter
from modelyard.units import GIB

if TYPE_CHECKING:
    from modelyard.records.models import ModelCard

COLUMNS = ("model", "task", "#params", "#RAM", "known", "licence", "problem")


@with_settings("data_dir", "models_dir", "allow_unsafe", "pickles", "hub")
def ls(
    resolved: Resolved,
    text: Annotated[str | None, typer.Argument(help="only models whose id contains this, in any case")] = None,
    task: Annotated[str | None, typer.Option(help="only models for this task")] = None,
    here: Annotated[
        bool,
        typer.Option("--here", help="only models of the server's folders, and those fetched, made or measured there"),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="at most this many; by default all")] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the models a running server knows; without one, those on this machine.

    KNOWN tells where the required RAM comes from: measured or estimated here, or published by the hosted service.
    """
    import asyncio

    with open_client(url, resolved.settings) as client:
        if url or client.is_up():
            models = ask(client, task, text, limit, here=here)
        else:
            models = asyncio.run(look_here(resolved.settings, task, text))[:limit]
    if json:
        return output.print_json(models)
    empty = "There are no such models here. `modelyard pull MODEL` fetches one from the hub."
    output.print_table(COLUMNS, map(row, models), empty=empty)
    return None


@with_settings("data_dir", "models_dir", "allow_unsafe", "pickles", "hub")
def show(resolved: Resolved, model: ModelId, url: Url = None, json: Json = False) -> None:
    """Say what a model is, from its files and its card: nothing is downloaded or loaded. ERROR says why it cannot be
    served, and what to take instead. BENCHMARK and SERVED FORM are what a running server has measured: how fast the
    model is and in how much memory, one request at a time and in batches, and which of its forms is the fastest."""
    import asyncio

    from modelyard.cli.local_models import is_path

    shown = describe_closed(model) or asyncio.run(describe_here(resolved.settings, model))
    listed = {} if is_path(model) else ask_listed(url, resolved.settings, shown["modelId"])
    shown |= {name: listed.get(name) for name in ("benchmark", "servedForm")}
    if json:
        return output.print_json(shown)
    told = shown | {
        "params": parameters(shown.get("params")),
        "ramRequired": output.gigabytes(shown.get("ramRequired")),
        "quality": figures(shown["quality"] or {}),
        "files": ", ".join(shown["files"]),
        "adapter": words_of(shown["adapter"]),
        "benchmark": benchmark_words(shown["benchmark"]),
        "servedForm": form_words(shown["servedForm"]),
        "prices": figures(shown.get("prices") or {}),
    }
    output.print_table(("about", "value"), told.items(), empty="")
    return None


@with_settings("models_dir", "allow_unsafe", "pickles", "hub")
def pull(resolved: Resolved, model: ModelId) -> None:
    """Download a model's files, so that its first start need not. Prints their folder."""
    import asyncio

    typer.echo(asyncio.run(download(resolved.settings, model)))


def ask(client: Client, task: str | None, text: str | None, limit: int | None, *, here: bool) -> list[dict[str, Any]]:
    """The server's list."""
    wanted = {"task": task, "search": text, "here": "true" if here else None}
    query = {name: value for name, value in wanted.items() if value is not None}
    return list(client.pages("list/models", query, limit))


def ask_listed(url: str | None, settings: Settings, model_id: str) -> Mapping[str, Any]:
    """What a running server's list says of the model; nothing where none runs, or knows it, or none was named and the
    one that runs takes another key."""
    with open_client(url, settings) as client:
        if not url and not client.is_up():
            return {}
        try:
            listed = client.ask("GET", "list/models", query={"modelId": model_id})
        except problems.ServerRefused as refused:
            if url or refused.status != HTTPStatus.UNAUTHORIZED:
                raise
            return {}
    return next(iter(listed), {})


def benchmark_words(benchmark: Mapping[str, Any] | None) -> str:
    """What was measured, on one line: #RAM is of batches as large as pay, so models whose batches differ compare by
    the figure for one at a time."""
    if benchmark is None:
        return ""
    told = [speed_words(benchmark["requestsPerSecond"], benchmark["ramOneByOne"], "one at a time")]
    if benchmark["batch"] > 1:
        batches = f"in batches of {benchmark['batch']}"
        told.append(speed_words(benchmark["requestsPerSecondBatched"], benchmark["ram"], batches))
    if benchmark["tokensPerSecond"] is not None:
        told.append(f"{benchmark['tokensPerSecond']:.3g} tokens/s")
    return f"{benchmark['largest']}: {'; '.join(told)}"


def speed_words(requests_per_s: float, ram: float | None, how: str) -> str:
    """One figure of speed with the memory that it takes."""
    return f"{requests_per_s:.3g} requests/s {how}{'' if ram is None else f' in {output.gigabytes(ram)}'}"


def form_words(form: Mapping[str, Any] | None) -> str:
    """Which form serves, and by what figures, on one line."""
    return "" if form is None else f"{form['variant'] or 'the model as it is'} ({form['why']})"


async def look_here(settings: Settings, task: str | None, text: str | None) -> list[dict[str, Any]]:
    """The list that a server with these settings would give of the models on this machine, without prices."""
    from modelyard.catalog.cards import check_task
    from modelyard.cli.local_models import open_catalog

    check_task(task)
    async with open_catalog(settings) as catalog:
        cards = await catalog.list(task=task)
    return [describe(card) for card in cards if text is None or text.lower() in card.model_id.lower()]


async def describe_here(settings: Settings, model: str) -> dict[str, Any]:
    """What is known of one model on this machine or the hub, or in the folder of that path, which is its name then."""
    from modelyard.cli.local_models import find_card, is_path, open_catalog

    async with open_catalog(settings) as catalog:
        card = await find_card(catalog, settings, model)
    return describe(card) | ({"modelId": str(card.path)} if is_path(model) else {})


def describe_closed(model_id: str) -> dict[str, Any] | None:
    """What is known of a closed model; None for others."""
    from datetime import UTC, datetime

    from modelyard.catalog.provided import open_provided
    from modelyard.gateway.shapes.models import find_prices
    from modelyard.records.providers import read_providers

    listing = open_provided(read_providers(())).find_listing(model_id, datetime.now(UTC))
    if listing is None:
        return None
    shown = {"modelId": listing.model_id, "task": listing.task, "source": listing.source}
    prices = dict(find_prices(listing) or {}) or None
    return {
        **shown,
        "contextLength": listing.facts.get("max_length"),
        "prices": prices,
        "quality": None,
        "warning": None,
        "files": [],
        "adapter": None,
        "error": None,
    }


async def download(settings: Settings, model_id: str) -> str:
    """The folder with the model's files, once they are here."""
    from modelyard.cli.local_models import fetch, find_model, open_catalog
    from modelyard.cli.progress import Progress

    async with open_catalog(settings) as catalog:
        with Progress(f"looking for {model_id}") as progress:
            card = await find_model(catalog, settings, model_id)
            return str((await fetch(catalog, card, progress.downloaded)).path)


def describe(card: ModelCard) -> dict[str, Any]:
    """A card with the names that the server's list has."""
    return {
        "modelId": card.model_id,
        "task": card.task,
        "params": None if card.inspection.parameters is None else round(card.inspection.parameters / 1e9, 6),
        "ramRequired": round(card.memory_bytes / GIB, 4) if card.memory_source else None,
        "memorySource": card.memory_source,
        "benchmarked": card.measured,
        "architecture": card.inspection.architecture,
        "source": str(card.source),
        "revision": card.revision,
        "license": card.inspection.license,
        "quality": dict(card.inspection.quality) or None,
        "warning": card.inspection.warning,
        "files": list(card.inspection.labels),
        "adapter": describe_adapter(card.inspection.adapter),
        "error": find_problem(card),
    }


def words_of(adapter: Mapping[str, Any] | None) -> str:
    """What an adapter is, on one line; nothing for other models."""
    if adapter is None:
        return ""
    rank = f", rank {adapter['rank']}" if adapter["rank"] else ""
    modules = ", ".join(adapter["targetModules"])
    return f"{adapter['type']} for {adapter['base']}{rank}{f', changes {modules}' if modules else ''}"


def figures(quality: Mapping[str, float]) -> str:
    """A variant's figures on one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in quality.items())


def parameters(billions: float | None) -> str | None:
    """How many parameters there are, as people write it."""
    return output.count(None if billions is None else billions * 1e9)


def find_problem(card: ModelCard) -> str | None:
    """Why a model must not be served, and what to do about it; None when it may be."""
    try:
        card.check_served()
    except ModelRefused as error:
        return problems.describe(error).line
    return None


def row(model: dict[str, Any]) -> tuple[object, ...]:
    """A model as a line of the table."""
    return (
        model["modelId"],
        model["task"],
        parameters(model["params"]),
        output.gigabytes(model["ramRequired"]),
        model["memorySource"],
        model["license"],
        model["error"],
    )
