"""One inference without a server: finds the model, fetches it, boots a replica, asks it, and ends everything again."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelyard.cli.local_models import find_model, open_catalog, prepare_files
from modelyard.cli.progress import Progress
from modelyard.config import Settings
from modelyard.engine.base import Phase, Place
from modelyard.engine.local import LocalEngine
from modelyard.engine.machine import usable_memory_bytes
from modelyard.errors import BootFailed, DeadlineExceeded
from modelyard.protocol import CalledPiece, Thought
from modelyard.records.models import ModelCard
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks import body as bodies
from modelyard.tasks.registry import get_task

if TYPE_CHECKING:
    from modelyard.engine.link import ReplicaLink
    from modelyard.tasks.body import Inference

LOOK_AGAIN_S = 0.02


async def run_locally(
    settings: Settings,
    name: str,
    task_id: str | None,
    body: Mapping[str, Any],
    emit: Callable[[str], None],
    progress: Progress,
) -> Any:
    """The output of one inference; when it streams, its pieces go to `emit` first.

    Cancelling it ends the work and every process behind it. `task_id`: instead of the model's own task. Raises what
    the catalog and the model raise, BootFailed, DeadlineExceeded.
    """
    progress.step(f"looking for {name}")
    async with open_catalog(settings) as catalog:
        card = await find_model(catalog, settings, name)
        if task_id is not None:
            card = replace(card, task=task_id)
        inference = bodies.read(get_task(card.task), body)
        card = await prepare_files(catalog, card, settings, progress.downloaded)
    progress.step("loading the model libraries")
    async with boot(card, settings, lambda: progress.step(f"starting {card.model_id}")) as link:
        progress.step(f"{card.model_id} is at work")
        return await ask(link, inference, emit)


@asynccontextmanager
async def boot(card: ModelCard, settings: Settings, on_warm: Callable[[], None]) -> AsyncIterator[ReplicaLink]:
    """A ready replica of the model for as long as the context lasts."""
    spec = ReplicaSpec.of("one-shot", card, card.path, secret=secrets.token_hex(16))
    engine = LocalEngine(usable_memory_bytes(), sandbox=settings.sandbox, allow_network=settings.allow_network)
    with tempfile.TemporaryDirectory(prefix="run-of-modelyard-", ignore_cleanup_errors=True) as folder:
        spec = replace(spec, log_path=str(Path(folder) / "worker.log"))
        try:
            async with asyncio.timeout(settings.boot_deadline_s):
                link = await start(engine, spec, on_warm)
            yield link
        except TimeoutError as error:
            raise DeadlineExceeded(f"{card.model_id} was not ready within {settings.boot_deadline_s:.0f} s.") from error
        finally:
            await engine.close()


async def start(engine: LocalEngine, spec: ReplicaSpec, on_warm: Callable[[], None]) -> ReplicaLink:
    """Launches the replica; its link once it is ready. Raises BootFailed."""
    changed = asyncio.Event()
    engine.watch(changed.set)
    await engine.start()
    # A replica that is launched before the libraries are loaded could not be ended before they are.
    while not engine.warm:  # noqa: ASYNC110 - the engine announces replicas, not this
        await asyncio.sleep(LOOK_AGAIN_S)
    on_warm()
    (node,) = engine.nodes()
    engine.launch(spec, Place(node.name))
    while True:
        sighting = engine.sightings()[spec.replica_id]
        if sighting.phase is Phase.READY and sighting.link is not None:
            return sighting.link
        if sighting.phase is Phase.GONE:
            raise BootFailed(f"{spec.model_id} did not start: {sighting.reason}")
        await changed.wait()
        changed.clear()


async def ask(link: ReplicaLink, inference: Inference, emit: Callable[[str], None]) -> Any:
    """Sends the inference and passes on its pieces, what is thought and called not among them; its output."""

    async def pass_on(piece: str) -> None:
        if not isinstance(piece, Thought | CalledPiece):
            emit(piece)

    exchange = link.request(inference.fields, inference.params, stream=inference.stream)
    return (await exchange.run(pass_on)).output
