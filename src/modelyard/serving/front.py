"""What answers inferences in one process, put together: the same beside the control plane and in a gateway of its own.

Owns no logic.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from modelyard.accounts.aliases import Aliases
from modelyard.catalog.provided import Provided
from modelyard.config import Settings
from modelyard.control.plane import InferencePlane
from modelyard.control.routes import Slots
from modelyard.engine.provider_process import ProviderProcess
from modelyard.gateway.admission import Admission
from modelyard.gateway.closed_models import ClosedModels
from modelyard.gateway.destinations.choice import Choice
from modelyard.gateway.destinations.provider import ProviderDestination
from modelyard.gateway.destinations.replicas import Replicas
from modelyard.gateway.inference import Inferences
from modelyard.gateway.kept_responses import KeptResponses
from modelyard.gateway.metering import Metering
from modelyard.gateway.metrics import InferenceTallies
from modelyard.gateway.request_memory import RequestMemory
from modelyard.gateway.slow_readers import SlowReaders
from modelyard.gateway.surfaces.every import Surfaces, open_surfaces
from modelyard.media.artefacts import Artefacts
from modelyard.records.providers import Provider, ProviderKey
from modelyard.serving.from_settings import memory_limits_of, open_fetcher
from modelyard.serving.tasks import start_task
from modelyard.serving.telemetry import open_observer
from modelyard.telemetry.exporter import Exporter
from modelyard.units import MIB


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of answers: files, and responses to go on from."""

    artefacts: Artefacts
    responses: KeptResponses


@dataclass(frozen=True, slots=True)
class Closed:
    """What is known of closed models: their providers, the models there are, and whoever pays for them here."""

    providers: Mapping[str, Provider]
    provided: Provided
    keys: Mapping[str, ProviderKey]


async def open_inferences(
    stack: AsyncExitStack,
    settings: Settings,
    admission: Admission,
    aliases: Aliases,
    plane: InferencePlane,
    slots: Slots,
    metering: Metering,
    tallies: InferenceTallies,
    kept: Kept,
    closed: Closed,
    exporter: Exporter | None,
) -> tuple[Inferences, Surfaces]:
    """What runs inferences, and the surfaces that they come through; `stack` closes it."""
    slow_readers = SlowReaders(settings.slow_reader_s)
    start_task(stack, slow_readers.look_forever(), "slow readers")
    process = ProviderProcess()
    stack.push_async_callback(process.close)
    replicas = Replicas(plane, slots, queue_wait_s=settings.queue_wait_s, cancel_grace_s=settings.cancel_grace_s)
    inferences = Inferences(
        admission,
        aliases,
        plane,
        Choice(replicas, ProviderDestination(process)),
        open_fetcher(settings),
        metering,
        RequestMemory(memory_limits_of(settings)),
        slow_readers,
        tallies,
        ClosedModels(closed.provided, closed.keys),
        price_per_gb_s=settings.price_per_gb_s,
        timeout_s=settings.request_timeout_s,
        observer=open_observer(settings, exporter),
    )
    body_bytes = settings.max_body_mb * MIB
    surfaces = open_surfaces(kept.artefacts, kept.responses, body_bytes, settings.public_url, closed.providers)
    return inferences, surfaces
