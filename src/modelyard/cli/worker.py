"""`modelyard worker`: one model alone behind plain HTTP, for a container or for curl."""

from __future__ import annotations

import secrets
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Annotated

import typer

from modelyard.cli import output
from modelyard.cli.amounts import parse_gigabytes
from modelyard.cli.flags import with_settings
from modelyard.config import Resolved, Settings
from modelyard.records.replicas import ReplicaSpec


@with_settings(
    "host",
    "data_dir",
    "models_dir",
    "allow_unsafe",
    "bf16",
    "pickles",
    "context_tokens",
    "sandbox",
    "allow_network",
    "hub",
    "otlp_endpoint",
    "log_level",
    "log_format",
)
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
    import asyncio

    from modelyard.engine.solo_process import serve_alone
    from modelyard.gateway.server import configure_logging
    from modelyard.http.server import listen
    from modelyard.serving.telemetry import open_exporter
    from modelyard.worker.sandbox.levels import ensure_level

    settings = resolved.settings
    ensure_level(settings.sandbox)
    configure_logging(settings.log_level, settings.log_format)
    worker_id = f"worker_{secrets.token_hex(8)}"
    memory_limit_bytes = None if memory_gb is None else parse_gigabytes(memory_gb, "--memory-gb")
    with listen(settings.host, port) as listener:
        url = f"http://{settings.host}:{listener.getsockname()[1]}"

        async def prepare() -> ReplicaSpec:
            spec = await prepare_replica(settings, model, worker_id, device)
            return replace(
                spec, memory_limit_bytes=memory_limit_bytes, reserved_bytes=memory_limit_bytes, max_batch=max_batch
            )

        def on_listening() -> None:
            typer.echo(f"Listening on {url}; {model} is being prepared")

        def on_ready(spec: ReplicaSpec) -> None:
            typer.echo(f"Ready: {spec.model_id} ({spec.task}) at POST {url}/run")

        async def run() -> None:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
            async with AsyncExitStack() as stack:
                open_exporter(stack, settings, worker_id)
                level = settings.log_level.upper()
                await serve_alone(prepare, listener, on_listening, on_ready, level, settings.log_format)

        try:
            asyncio.run(run())
        except asyncio.CancelledError:
            output.stderr().print("stopped")


async def prepare_replica(settings: Settings, name: str, worker_id: str, device: str) -> ReplicaSpec:
    """Finds the model, downloads it where needed, and says how to load it. Raises what the catalog raises."""
    from modelyard.cli.local_models import find_model, open_catalog, prepare_files
    from modelyard.cli.progress import Progress
    from modelyard.engine.machine import usable_cores

    async with open_catalog(settings) as catalog:
        with Progress(f"looking for {name}") as progress:
            card = await find_model(catalog, settings, name)
            card = await prepare_files(catalog, card, settings, progress.downloaded)
    return ReplicaSpec.of(
        worker_id,
        card,
        card.path,
        device=device,
        threads=usable_cores(),
        sandbox=settings.sandbox,
        network=card.model_id in settings.allow_network,
    )
