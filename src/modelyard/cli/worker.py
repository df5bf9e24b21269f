"""`modelyard worker`: one model alone behind plain HTTP, for a container or for curl."""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.amounts import parse_gigabytes
from modelyard.cli.flags import with_settings
from modelyard.config import Resolved, Settings
from modelyard.records.replicas import ReplicaSpec


@with_settings("host", "models_dir", "allow_unsafe", "hub", "log_level")
def worker(
    resolved: Resolved,
    model: Annotated[str, typer.Argument(help="org/name, or the path of a model folder", show_default=False)],
    port: Annotated[int, typer.Option(envvar="PORT", help="port to listen on")] = 8000,
    device: Annotated[str, typer.Option(envvar="DEVICE", help="auto, cpu, cuda or cuda:N")] = "auto",
    memory_gb: Annotated[
        str | None, typer.Option(metavar="GB", help="what the model may allocate, weights included", show_default="any")
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(min=1, help="most requests in one batch", show_default="the task's own")
    ] = None,
) -> None:
    """Serve one model alone: `POST /run` takes the inference body, `GET /health` is 503 until it is ready."""
    from modelyard.http.server import listen
    from modelyard.worker.http import serve
    from modelyard.worker.processes import exit_at_once

    settings = resolved.settings
    memory_limit_bytes = None if memory_gb is None else parse_gigabytes(memory_gb, "--memory-gb")
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("modelyard").setLevel(settings.log_level.upper())
    # OpenMP threads that spin while they wait make a small model 10 times slower on a machine that has other work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # uvicorn raises again the signal that ended it: let SIGTERM then be what Ctrl-C is, an orderly end.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with listen(settings.host, port) as listener:
        url = f"http://{settings.host}:{listener.getsockname()[1]}"
        typer.echo(f"Listening on {url}; {model} is being prepared")

        async def prepare() -> ReplicaSpec:
            spec = await prepare_replica(settings, model, device)
            return replace(spec, memory_limit_bytes=memory_limit_bytes, max_batch=max_batch)

        def on_ready(spec: ReplicaSpec) -> None:
            typer.echo(f"Ready: {spec.model_id} ({spec.task}) at POST {url}/run")

        try:
            serve(prepare, listener, on_ready)
        except KeyboardInterrupt:
            output.stderr().print("stopped")
    exit_at_once(0)


async def prepare_replica(settings: Settings, name: str, device: str) -> ReplicaSpec:
    """Finds the model, downloads it where needed, and says how to load it. Raises what the catalog raises."""
    from modelyard.cli.local_models import fetch, find_model, open_catalog
    from modelyard.cli.progress import Progress
    from modelyard.engine.machine import usable_cores

    async with open_catalog(settings) as catalog:
        with Progress(f"looking for {name}") as progress:
            card = await find_model(catalog, settings, name)
            path = await fetch(catalog, card, progress.downloaded)
    return ReplicaSpec.of("solo", card, path, device=device, threads=usable_cores())
