"""`modelyard serve`: the server, and what it says as it starts."""

from __future__ import annotations

import faulthandler
import json
import math
import shlex
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.examples import with_examples
from modelyard.cli.flags import with_settings
from modelyard.config import CLI_KEY_FILE, Resolved
from modelyard.lasting_imports import lasting_imports

if TYPE_CHECKING:
    import asyncio

    from rich.console import Console

    from modelyard.records.models import Listing
    from modelyard.serving.server import Started

SHOWN_MODELS = 10
STOP_S = 30.0
"""From the first SIGTERM to the end: 10 s for requests in progress, as much for replicas, and a reserve."""


@with_settings()
def serve(
    resolved: Resolved,
    example_models: Annotated[
        bool,
        typer.Option(
            "--example-models",
            help="also serve the small models that come with Modelyard; without --models-dir they always are",
        ),
    ] = False,
) -> None:
    """Start the server. Stop it with Ctrl-C: requests in progress are finished first."""
    import asyncio

    with lasting_imports():
        from modelyard.serving.server import serve as serve_settings

    settings = with_examples(resolved.settings, required=example_models)
    # Until the server listens and takes signals itself, SIGTERM is what Ctrl-C is: an orderly end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    announcing: set[asyncio.Task[None]] = set()

    def on_start(started: Started) -> None:
        console = output.stdout()
        announce(console, started)
        # Looking through large folders must not keep the server from answering.
        announcing.add(asyncio.get_running_loop().create_task(announce_models(console, started), name="announce"))

    try:
        serve_settings(settings, on_start, end_within_deadline)
    except KeyboardInterrupt:
        output.stderr().print("stopped")


def end_within_deadline() -> None:
    """Ends this process STOP_S from now, whatever its threads wait for; first says on standard error where they are."""
    faulthandler.dump_traceback_later(STOP_S, exit=True)


def announce(console: Console, started: Started) -> None:
    """Where the server listens, where it keeps its data, and the first key, if it was just made."""
    console.print(f"[bold]Modelyard[/] is listening on [bold]{started.url}[/]")
    console.print(f"Data is in {started.data_dir}", markup=False)
    if started.first_key is not None:
        console.print(f"Your API key: [bold green]{started.first_key}[/]")
        console.print("This key is shown once. Keep it; `modelyard keys create NAME` makes another.")
    sys.stdout.flush()


async def announce_models(console: Console, started: Started) -> None:
    """The models there are, and a line to paste that calls the smallest of them, which fits if any does."""
    try:
        models, count = await started.list_models(SHOWN_MODELS)
    except Exception as error:  # noqa: BLE001 - the server works; only its greeting is shorter
        console.print(f"The models cannot be listed: {error}", markup=False)
        return
    for line in model_lines(models, count):
        console.print(line, markup=False)
    example = example_line(models, started)
    if example is not None:
        console.print("Try:")
        console.print(f"  {example}", markup=False)
    sys.stdout.flush()


def model_lines(models: Sequence[Listing], count: int) -> list[str]:
    """The models, a line each, and how many more there are of the `count`."""
    if not models:
        return ["No model is on this machine yet; any model of the hub is fetched when it is first called."]
    lines = [f"Models ({count}):"]
    width = max(len(model.model_id) for model in models)
    lines += [f"  {model.model_id:{width}}  {model.task}" for model in models]
    if count > len(models):
        lines.append(f"  ... and {count - len(models)} more: modelyard ls")
    return lines


def example_line(models: Sequence[Listing], started: Started) -> str | None:
    """A line that calls the smallest of the models that can be called; None where there is none."""
    by_size = sorted(models, key=lambda model: model.memory_bytes or math.inf)
    return next(filter(None, (curl_line(model, started) for model in by_size)), None)


def curl_line(model: Listing, started: Started) -> str | None:
    """A shell line that calls the model with its task's example; None for a task this server cannot run."""
    from modelyard.tasks.registry import find_task

    task = None if model.task is None else find_task(model.task)
    if task is None:
        return None
    key = started.first_key or f"$(cat {shlex.quote(str(started.data_dir / CLI_KEY_FILE))})"
    return curl("POST", f"{started.url}/models/v2/{model.model_id}", key, task.example)


def curl(method: str, url: str, key: str, body: dict[str, Any] | None = None, *more: str) -> str:
    """A request as a shell line that works when it is pasted. `key` may be a `$(...)` or a `$VARIABLE`."""
    words = ["curl", *more]
    if method != ("GET" if body is None else "POST"):
        words += ["-X", method]
    words += [shlex.quote(url), "-H", f'"Authorization: Key {key}"']
    if body is not None:
        words += ["-d", shlex.quote(json.dumps(body, ensure_ascii=False))]
    return " ".join(words)
