"""What every surface is built on, put together once. Owns the order of starting and stopping; holds no logic."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from modelyard.accounts.administration import Administration, ensure_cli_key
from modelyard.accounts.funds import Funds
from modelyard.accounts.keys import Authenticator
from modelyard.accounts.pricing import tariff_of
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.catalog.catalog import open_catalog
from modelyard.catalog.index import Index
from modelyard.clock import Clock, SteadyClock, SystemClock
from modelyard.config import Settings
from modelyard.control.journal import Journal
from modelyard.control.parts import assemble
from modelyard.control.plane import Plane
from modelyard.control.policy import Policy
from modelyard.control.records import Records
from modelyard.control.routes import Routes
from modelyard.engine.base import Engine, Fetch
from modelyard.engine.local import LocalEngine
from modelyard.engine.machine import find_devices, usable_memory_bytes
from modelyard.errors import InvalidRequest, ModelyardError, Unavailable
from modelyard.gateway.destinations.replicas import Replicas
from modelyard.gateway.inference import Inferences
from modelyard.gateway.metering import Metering
from modelyard.gateway.remedies import V2, sentence
from modelyard.jobs.measurements import Growth, Measurements
from modelyard.jobs.queue import OWNER, JobDeadlines, Jobs
from modelyard.media.artefacts import Artefacts
from modelyard.media.fetch import Fetcher, FetchLimits
from modelyard.records.variants import VARIANTS_FOLDER
from modelyard.store.ids import new_id
from modelyard.store.store import Store
from modelyard.units import GIB

SERVER_ID_FILE = "server-id"

log = logging.getLogger(__name__)


class Services:
    """Opened by `async with Services(settings)`; closed in reverse order."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.first_key: str | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        settings, clock = self.settings, self.clock
        tariff = tariff_of(settings)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / VARIANTS_FOLDER).mkdir(exist_ok=True)
        stack.callback(os.close, lock_data_dir(settings.data_dir))
        server_id = ensure_server_id(settings.data_dir)

        self.store = await asyncio.to_thread(Store.open, settings.store_url)
        stack.callback(self.store.close)
        cli_key = await asyncio.to_thread(ensure_cli_key, settings.data_dir)
        administration = Administration(self.store, clock)
        self.first_key = await asyncio.to_thread(administration.ensure_first_keys, settings.admin_key, cli_key)
        self.authenticator = Authenticator(self.store, clock)
        self.limiter = RateLimiter(settings.rate_limit, clock)
        self.quotas = Quotas(self.store.accounts.list_with_quota)
        await asyncio.to_thread(self.quotas.read)
        reader = asyncio.create_task(self.quotas.read_forever(), name="quotas")
        stack.push_async_callback(end, reader)

        self.fetcher = open_fetcher(settings)
        self.artefacts = Artefacts(settings.data_dir / "artefacts", settings.artefact_ttl_s, clock)
        await asyncio.to_thread(self.artefacts.open)
        sweeper = asyncio.create_task(self.artefacts.sweep_forever(), name="artefacts")
        stack.push_async_callback(end, sweeper)

        self.measurements = Measurements(await asyncio.to_thread(self.store.models.measured))
        self.catalog = open_catalog(settings, learned=self.measurements.of)
        stack.push_async_callback(self.catalog.aclose)
        self.index = Index(self.catalog, self.store, clock)
        self.index.start()
        stack.push_async_callback(self.index.close)
        self.engine = await asyncio.to_thread(open_engine, settings, self.catalog.ensure_files)
        await self.engine.start()
        stack.push_async_callback(self.engine.close)
        self.journal = Journal(self.store, clock)
        self.journal.start()
        stack.push_async_callback(self.journal.close)
        self.ledger_clock = SteadyClock(clock)
        self.funds = Funds(self.store, self.ledger_clock)
        await self.funds.open()

        look_now = asyncio.Event()
        self.routes = Routes(clock, max_queued=settings.queue_limit, on_demand=look_now.set)
        policy = Policy(
            boot_s=settings.boot_deadline_s,
            drain_s=settings.drain_s,
            stable_window_s=settings.stable_window_s,
            idle_timeout_s=settings.default_timeout_s,
        )
        parts = assemble(
            self.engine,
            self.catalog,
            self.store,
            self.journal,
            Records(self.journal, self.store, self.ledger_clock, server_id, tariff, describe),
            self.routes,
            clock,
            policy,
            server_id=server_id,
            quota_of=self.quotas.of,
            suspension_of=self.funds.refusal,
            on_growth=Growth(self.measurements, self.store, self.journal, clock).note,
            poke=look_now,
        )
        self.clusters, self.desired, self.preparations = parts.clusters, parts.desired, parts.preparations
        self.plane = Plane(parts)
        await self.plane.start()
        stack.push_async_callback(self.plane.close)
        await self.journal.flush()  # what an earlier server left open is closed: funds count it as closed
        self.funds.start()
        stack.push_async_callback(self.funds.close)
        owner = await asyncio.to_thread(self.store.accounts.ensure, OWNER, clock.now())
        self.jobs = Jobs(
            self.store,
            self.catalog,
            self.measurements,
            self.plane,
            self.routes,
            self.engine,
            self.journal,
            clock,
            owner_id=owner.id,
            server_id=server_id,
            data_dir=settings.data_dir,
            deadlines=JobDeadlines(benchmark_s=settings.job_benchmark_s),
            describe=describe,
        )
        await self.jobs.start()
        stack.push_async_callback(self.jobs.close)
        self.metering = Metering(
            self.store, self.journal, self.funds, self.ledger_clock, tariff, settings.billing_reserve_s, server_id
        )
        self.inferences = Inferences(
            self.authenticator,
            self.limiter,
            self.funds,
            self.quotas,
            self.plane,
            Replicas(self.plane, self.routes, queue_wait_s=settings.queue_wait_s),
            self.fetcher,
            self.metering,
            price_per_gb_s=settings.price_per_gb_s,
        )
        pruner = asyncio.create_task(self.metering.prune_forever(settings.usage_days), name="prune usage")
        stack.push_async_callback(end, pruner)


def open_fetcher(settings: Settings) -> Fetcher:
    """The fetcher these settings describe; no fetch outlasts the wait that a request has."""
    return Fetcher(
        FetchLimits(
            max_bytes=settings.max_media_mb * 1024 * 1024,
            total_s=min(settings.fetch_timeout_s, settings.queue_wait_s),
            allow_private=settings.allow_private_media,
        )
    )


async def end(task: asyncio.Task[None]) -> None:
    """Cancels a background task and waits until it has ended."""
    task.cancel()
    await asyncio.wait({task})


def describe(error: ModelyardError) -> str:
    """An error in logs and jobs, which are read over v2."""
    return sentence(error, V2)


def open_engine(settings: Settings, fetch: Fetch) -> Engine:
    """The engine these settings name. `fetch` downloads models. May block for seconds. Raises InvalidRequest."""
    if settings.engine != "local":
        raise InvalidRequest(field="engine", got=settings.engine, accepted="local")
    memory = int(settings.memory_gb * GIB) if settings.memory_gb else usable_memory_bytes()
    return LocalEngine(memory, devices=find_devices(), log_dir=settings.data_dir / "logs", fetch=fetch)


def ensure_server_id(data_dir: Path) -> str:
    """The name by which the database knows the server of this data folder, made on the first call.

    For the holder of the folder's lock.
    """
    path = data_dir / SERVER_ID_FILE
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.write_text(new_id("server") + "\n", encoding="ascii")
        fresh.replace(path)  # at once: a server that is killed here leaves none or a whole one
    return path.read_text(encoding="ascii").strip()


def lock_data_dir(data_dir: Path) -> int:
    """A descriptor that holds the data folder for this server until it is closed. Raises Unavailable."""
    descriptor = os.open(data_dir / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable(
            f"Another modelyard server uses {data_dir}. Stop it, or give this one its own folder with --data-dir."
        ) from None
    return descriptor
