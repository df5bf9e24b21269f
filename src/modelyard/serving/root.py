"""The parts of a server, put together: the only place that knows all of them.

Owns the order of starting and stopping; holds no logic.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from modelyard.accounts.administration import Administration, ensure_cli_key
from modelyard.accounts.aliases import Aliases
from modelyard.accounts.calls import CallBudget
from modelyard.accounts.funds import Funds
from modelyard.accounts.keys import Authenticator
from modelyard.accounts.pricing import tariff_of
from modelyard.accounts.quotas import Quotas
from modelyard.accounts.rates import RateLimiter
from modelyard.accounts.visibility import Visibility
from modelyard.catalog.cache_space import CacheSpace
from modelyard.catalog.catalog import open_catalog
from modelyard.catalog.hub_settings import read_hub_settings
from modelyard.catalog.index import Index
from modelyard.catalog.made_files import MadeFiles, list_conversions, list_variants
from modelyard.catalog.provided import open_provided
from modelyard.clock import Clock, SteadyClock, SystemClock
from modelyard.config import FIRST_ACCOUNT, RAY, Settings
from modelyard.control.conversions import open_conversions
from modelyard.control.disk_space import watch_disk_space
from modelyard.control.journal import START_S, Journal
from modelyard.control.lease import Leadership
from modelyard.control.parts import assemble
from modelyard.control.plane import Plane
from modelyard.control.records import Records
from modelyard.control.retention import Kept as KeptDays
from modelyard.control.retention import Retention
from modelyard.control.routes import Routes
from modelyard.control.sole_server import (
    close_books_of_others,
    end_when_taken,
    ensure_server_id,
    lock_data_dir,
    name_of,
)
from modelyard.control.work_queue import WorkQueue
from modelyard.engine.base import Engine, Fetch
from modelyard.engine.log_limits import keep_to_limits
from modelyard.errors import LeaseLost, ModelyardError
from modelyard.gateway.admission import OwnAdmission
from modelyard.gateway.app import App, make_calls
from modelyard.gateway.artefacts import ArtefactCalls
from modelyard.gateway.console.session import SessionCalls
from modelyard.gateway.event_streams import EventStreams
from modelyard.gateway.health import HealthCalls
from modelyard.gateway.history import HistoryRecorder
from modelyard.gateway.kept_responses import KeptResponses
from modelyard.gateway.listing import Listings
from modelyard.gateway.metering import Metering, OwnBooks
from modelyard.gateway.metrics import InferenceTallies, MetricCalls
from modelyard.gateway.operation import Operation
from modelyard.gateway.remedies import describe_failed_job, describe_for_log
from modelyard.gateway.surfaces.admin.gate import Gate
from modelyard.gateway.surfaces.admin.operations import admin_operations
from modelyard.gateway.surfaces.every import INFERENCES
from modelyard.gateway.surfaces.openai.models import OpenAIModelCalls
from modelyard.gateway.surfaces.openai.response_calls import ResponseCalls
from modelyard.gateway.surfaces.v1.models import V1Calls
from modelyard.gateway.surfaces.v2.clusters import ClusterCalls
from modelyard.gateway.surfaces.v2.jobs import JobCalls
from modelyard.gateway.surfaces.v2.live import LiveCalls
from modelyard.gateway.surfaces.v2.models import ModelCalls
from modelyard.gateway.surfaces.v2.usage import UsageCalls
from modelyard.jobs.benchmark import JobDeadlines
from modelyard.jobs.forms import forms_here
from modelyard.jobs.measurements import Measurements
from modelyard.jobs.queue import OWNER, Jobs
from modelyard.lasting_objects import LastingObjects
from modelyard.media.artefacts import Artefacts
from modelyard.private_files import ensure_data_folder, ensure_private_folder
from modelyard.records.conversions import CONVERTED_FOLDER
from modelyard.records.leases import NOWHERE, LeaderAddress
from modelyard.records.models import Listing, ModelCard, OnProgress, Source
from modelyard.records.providers import read_keys, read_providers
from modelyard.records.runtimes import ORIGINAL, read_runtimes
from modelyard.records.variants import VARIANTS_FOLDER
from modelyard.serving.from_settings import (
    LOGS_FOLDER,
    logs_of,
    open_engine,
    policy_of,
    response_limits_of,
    shares_database,
    space_rules_of,
)
from modelyard.serving.front import Closed, Kept, open_inferences
from modelyard.serving.tasks import start_task
from modelyard.serving.telemetry import open_exporter
from modelyard.store.database import Database
from modelyard.store.leases import LEASE_LOCK_S, Leases
from modelyard.store.server_lock import open_server_lock
from modelyard.store.store import Store
from modelyard.units import MIB

if TYPE_CHECKING:
    from modelyard.gateway.following.leader import Authority

log = logging.getLogger(__name__)

GONE_S = 30.0
"""Where servers may replace each other: for how long what was set aside for a request stays so while nobody knows
whether its server lives. One that is stopped, or cut off, for so long finds it settled."""
ARTEFACTS_FOLDER = "artefacts"
PRIVATE_TREES = (ARTEFACTS_FOLDER, LOGS_FOLDER)
"""Folders in the data folder with what accounts have made. Variants are models, which workers of another user read."""
MakeEngine = Callable[[Settings, Fetch], Engine]
SEEN = (Source.FOLDER, Source.HUB)
"""The sources that have seen a model's files."""


class Root:
    """Puts the parts of one server together. No part ever sees it: each is given what it needs, and nothing else."""

    def __init__(
        self, settings: Settings, address: LeaderAddress = NOWHERE, make_engine: MakeEngine = open_engine
    ) -> None:
        """`address`: where this server is followed while it leads."""
        self._settings = settings
        self._address = address
        self._make_engine = make_engine
        self._clock: Clock = SystemClock()
        self._ledger_clock = SteadyClock(self._clock)
        self._tariff = tariff_of(settings)
        self.first_key: str | None = None
        self.leadership: Leadership | None = None
        """This server's part in who leads; None: no other can."""
        self.lease_lost = asyncio.Event()

    async def open(self, stack: AsyncExitStack, waits: Callable[[], Awaitable[None]] | None = None) -> App:
        """Opens everything; `stack` closes it, in reverse order. The application takes requests for as long.

        Where several servers may share the database it returns once this one leads; `waits` is called before that,
        which may take for ever.
        """
        self._providers = read_providers(self._settings.provider_urls)
        self._provider_keys = read_keys(self._settings.provider_keys, self._providers)
        data_dir = self._settings.data_dir
        await asyncio.to_thread(ensure_data_folder, data_dir, PRIVATE_TREES)
        ensure_private_folder(data_dir / VARIANTS_FOLDER)
        stack.callback(os.close, lock_data_dir(data_dir))
        self.server_id = ensure_server_id(data_dir)
        self._exporter = open_exporter(stack, self._settings, self.server_id)
        await self._open_store(stack)
        await self._open_accounts(stack)
        await self._open_models(stack)
        await self._open_files(stack)
        await self._open_engine(stack)
        await self._lead(stack, waits)
        await self._open_control(stack)
        await self._open_jobs(stack)
        return await self._open_gateway(stack)

    async def list_models(self, limit: int) -> tuple[Sequence[Listing], int]:
        """The first of the models whose files are known and that can be served, and how many there are."""
        await self._index.refresh()
        models = self._store.models
        page = await asyncio.to_thread(models.page, sources=SEEN, servable=True, limit=limit)
        return page, await asyncio.to_thread(models.count, SEEN)

    async def _open_store(self, stack: AsyncExitStack) -> None:
        """Before the tables are touched, no other server may be at them; unless servers may share them."""
        is_shared = shares_database(self._settings)
        lock = open_server_lock(self._settings.store_url, name_of(self.server_id), is_shared=is_shared)
        stack.callback(lock.close)
        await asyncio.to_thread(lock.take)
        start_task(stack, end_when_taken(lock), "server lock")
        self._store = await asyncio.to_thread(Store.open, self._settings.store_url)
        stack.callback(self._store.close)
        self._led = self._store
        if is_shared:
            self._open_lease(stack)
        elif self._settings.engine != RAY:
            await asyncio.to_thread(close_books_of_others, self._store, self.server_id, self._ledger_clock)

    def _open_lease(self, stack: AsyncExitStack) -> None:
        asked = Database(self._settings.store_url, lock_timeout_s=LEASE_LOCK_S)  # connections that nobody else uses up
        stack.callback(asked.close)
        name = name_of(self.server_id)
        self.leadership = Leadership(Leases(asked), self.server_id, name, self._clock, address=self._address)
        stack.callback(self.leadership.close)

    async def _lead(self, stack: AsyncExitStack, waits: Callable[[], Awaitable[None]] | None) -> None:
        """Returns once this server leads; what others have left open is closed, and where replicas run it is known."""
        if not self._engine.outlives_servers:
            return
        leadership = self.leadership
        if leadership is None:
            await self._engine.lead(await asyncio.to_thread(self._store.leases.count))
            return
        if waits is not None:
            await waits()
        await leadership.take()
        stack.push_async_callback(release, leadership)
        start_task(stack, self._end_when_lost(leadership), "lease")
        self._led = self._store.led_with(leadership.token)
        await asyncio.to_thread(self._led.jobs.requeue_those_of_others, self.server_id)
        await self._engine.lead(leadership.token)

    async def _end_when_lost(self, leadership: Leadership) -> None:
        """Says so once another server has taken the lead."""
        try:
            await leadership.keep()
        except LeaseLost:
            log.warning("another server leads now: this one follows it")
            self.lease_lost.set()

    async def _open_accounts(self, stack: AsyncExitStack) -> None:
        cli_key = await asyncio.to_thread(ensure_cli_key, self._settings.data_dir)
        administration = Administration(self._store, self._clock)
        self.first_key = await asyncio.to_thread(administration.ensure_first_keys, self._settings.admin_key, cli_key)
        operator = await asyncio.to_thread(self._store.accounts.ensure, FIRST_ACCOUNT, self._clock.now())
        self._operator_id = operator.id
        self._authenticator = Authenticator(self._store, self._clock)
        self._limiter = RateLimiter(self._settings.rate_limit, self._clock)
        self._quotas = Quotas(self._store.accounts.list_with_quota)
        await asyncio.to_thread(self._quotas.read)
        start_task(stack, self._quotas.read_forever(), "quotas")
        self._aliases = Aliases(self._store.aliases)
        await asyncio.to_thread(self._aliases.read)
        start_task(stack, self._aliases.read_forever(), "aliases")
        owner = await asyncio.to_thread(self._store.accounts.ensure, OWNER, self._clock.now())
        self._owner_id = owner.id
        self._visibility = Visibility(self._store.grants, (operator.id, owner.id))
        await asyncio.to_thread(self._visibility.read)
        start_task(stack, self._visibility.read_forever(), "visibility")

    async def _open_models(self, stack: AsyncExitStack) -> None:
        self._measurements = Measurements(await asyncio.to_thread(self._store.models.measured))
        self._space = space = CacheSpace(
            read_hub_settings().cache_dir,
            self._store.downloads,
            space_rules_of(self._settings),
            lambda account_id: self._quotas.of(account_id).disk_bytes,
            self._clock,
            lambda: self._journal.flush_for_reader(),
            self._list_made,
        )
        stack.push_async_callback(space.aclose)
        self._catalog = open_catalog(
            self._settings, learned=self._measurements.of, access=self._visibility, space=space
        )
        stack.push_async_callback(self._catalog.aclose)
        self._conversions = open_conversions(
            self._settings, lambda name, count: self._plane.memory_for(name, count), space.room_for_made
        )
        self._provided = await asyncio.to_thread(open_provided, self._providers)
        self._index = Index(self._catalog, self._store, self._clock, self._provided)
        self._index.start()
        stack.push_async_callback(self._index.close)

    async def _fetch(self, card: ModelCard, on_progress: OnProgress, account_id: str) -> Path:
        """The folder from which replicas load a model."""
        files = await self._catalog.ensure_files(card, on_progress, account_id)
        return await self._conversions.ensure(card, files, account_id)

    def _list_made(self) -> Iterator[MadeFiles]:
        """What was made of models, and for whom: a variant that nobody asked for, by a comparison, for the operator.
        Blocking."""

        def account_of(variant_id: str) -> str:
            job = self._store.jobs.find(variant_id)
            return self._operator_id if job is None else job.account_id

        yield from list_conversions(self._settings.data_dir / CONVERTED_FOLDER)
        yield from list_variants(self._settings.data_dir / VARIANTS_FOLDER, account_of)

    async def _open_files(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        self.artefacts = Artefacts(settings.data_dir / ARTEFACTS_FOLDER, settings.artefact_ttl_s, self._clock)
        self.artefact_calls = ArtefactCalls(self.artefacts)
        await asyncio.to_thread(self.artefacts.open)
        start_task(stack, self.artefacts.sweep_forever(), "artefacts")

    async def _open_engine(self, stack: AsyncExitStack) -> None:
        self._engine = await asyncio.to_thread(self._make_engine, self._settings, self._fetch)
        start_task(stack, keep_to_limits(*logs_of(self._settings), time.time), "logs")
        await self._engine.start()
        stack.push_async_callback(self._engine.close)

    async def _open_control(self, stack: AsyncExitStack) -> None:
        settings, clock = self._settings, self._clock
        self._journal = Journal(self._store, clock, led=self._led)
        self._journal.start()
        stack.push_async_callback(self._journal.close)
        min_free_bytes = settings.min_free_mb * MIB
        space = watch_disk_space(settings.data_dir, min_free_bytes, self._journal.note_shortage)
        start_task(stack, space, "disk space")
        self._funds = Funds(self._store, self._ledger_clock, self._tariff)
        await self._funds.open()
        work = WorkQueue()
        self._routes = Routes(clock, max_queued=settings.queue_limit, on_demand=work.add)
        parts = assemble(
            self._engine,
            self._catalog,
            self._led,
            self._journal,
            Records(self._journal, self._led, self._ledger_clock, self.server_id, self._tariff, describe_for_log),
            self._routes,
            clock,
            policy_of(settings),
            server_id=self.server_id,
            quota_of=self._quotas.of,
            suspension_of=self._funds.refusal,
            launch_refusal=self._funds.launch_refusal,
            work=work,
            operator_id=self._operator_id,
            leads=lambda: self.leadership is None or self.leadership.held,
            on_ready=LastingObjects().note_ready,
        )
        self._plane = Plane(parts)
        if self.leadership is None:  # else its gateways have requests under way, whoever has led before
            left_over = partial(self._store.requests.settle_left_over, self.server_id, self._ledger_clock.now())
            self._journal.submit(left_over)
        await self._plane.start()
        stack.push_async_callback(self._plane.close)
        await self._journal.flush_for_reader(START_S)  # what an earlier server left open counts as closed for funds
        self._funds.start()
        stack.push_async_callback(self._funds.close)

    async def _open_jobs(self, stack: AsyncExitStack) -> None:
        self._jobs = Jobs(
            self._led,
            self._catalog,
            self._measurements,
            self._plane,
            self._routes,
            self._journal,
            self._clock,
            owner_id=self._owner_id,
            operator_id=self._operator_id,
            room_for=self._space.room_for_made,
            server_id=self.server_id,
            data_dir=self._settings.data_dir,
            deadlines=JobDeadlines(benchmark_s=self._settings.job_benchmark_s),
            most_open=self._settings.job_limit,
            billed=self._settings.job_billing,
            forms=forms_here() if read_runtimes(self._settings.runtime).every != ORIGINAL else (),
            describe=describe_failed_job,
        )
        await self._jobs.start()
        stack.push_async_callback(self._jobs.close)

    async def _open_gateway(self, stack: AsyncExitStack) -> App:
        settings = self._settings
        responses = KeptResponses(self._store.responses, self._clock, response_limits_of(settings))
        days = KeptDays(settings.usage_days, settings.event_days, settings.event_lines, settings.audit_days)
        start_task(stack, Retention(self._store, self._clock, days).delete_forever(), "retention")
        self.tallies = InferenceTallies()
        recorder = HistoryRecorder(self.tallies, self._plane, self._journal, self._led.history, self._clock)
        start_task(stack, recorder.record_forever(), "history")
        books = OwnBooks(self._store, self._journal, self._funds)
        inferences, surfaces = await open_inferences(
            stack,
            settings,
            OwnAdmission(self._authenticator, books, self._limiter, self._funds, self._quotas),
            self._aliases,
            self._plane,
            self._routes,
            Metering(books, self._ledger_clock, self._tariff, settings.billing_reserve_s, self.server_id),
            self.tallies,
            Kept(self.artefacts, responses),
            Closed(self._providers, self._provided, self._provider_keys),
            self._exporter,
        )
        self.metrics = MetricCalls(self.tallies, self._plane, self._operator_id)
        self.streams = EventStreams(self._authenticator.authenticate)
        self.calls = make_calls(
            [*self._operations(responses), *INFERENCES],
            self._authenticator.authenticate,
            CallBudget(settings.calls_per_s, self._clock),
        )
        return App(inferences, surfaces, self.calls)

    def authority(self) -> Authority:
        """What gateways in other processes ask of. For an open server."""
        from modelyard.gateway.following.leader import Authority

        authority = Authority(
            plane=self._plane,
            routes=self._routes,
            authenticator=self._authenticator,
            limiter=self._limiter,
            funds=self._funds,
            quotas=self._quotas,
            aliases=self._aliases,
            books=OwnBooks(self._store, self._journal, self._funds),
            journal=self._journal,
            tallies=self.tallies,
            clock=self._ledger_clock,
        )
        if (leadership := self.leadership) is None:
            return authority
        return replace(authority, leads=lambda: leadership.may_answer, confirm=leadership.confirm, gone_s=GONE_S)

    async def settle_unclaimed(self, claimed: Callable[[], Collection[str]]) -> None:
        """Once the gateways of all servers that live have had time to follow this one, which has come to lead: frees
        what is set aside for requests that none of them goes on with. `claimed`: the ids of the others."""
        began = self._ledger_clock.now()
        await asyncio.sleep(GONE_S)
        settle = partial(self._led.requests.settle_unclaimed, claimed(), began, self._ledger_clock.now())
        self._journal.submit(settle)

    def settle_left_over(self) -> None:
        """Frees what this server, before it was started, had set aside and never settled. Blocking."""
        self._store.requests.settle_left_over(self.server_id, self._ledger_clock.now())

    def _operations(self, responses: KeptResponses) -> Iterator[Operation]:
        """Every call but inference, the more particular path first."""
        store, plane, funds, jobs, aliases = self._store, self._plane, self._funds, self._jobs, self._aliases
        price_per_gb_s = self._settings.price_per_gb_s
        hidden_from = self._visibility.hidden_from
        listings = Listings(self._index, self._catalog, store.models, self._clock, aliases, hidden_from)
        yield from HealthCalls(plane, self._quotas, self._authenticator.authenticate, self._operator_id).operations()
        yield from SessionCalls(store, self._clock, self._authenticator.authenticate, self._operator_id).operations()
        yield from self.metrics.operations()
        yield from ModelCalls(listings, price_per_gb_s=price_per_gb_s).operations()
        yield from OpenAIModelCalls(listings).operations()
        yield from ResponseCalls(responses).operations()
        yield from JobCalls(jobs, self._led.jobs, aliases, funds, self.streams).operations()
        usage = UsageCalls(store, self._journal, aliases, funds, self._ledger_clock, price_per_gb_s=price_per_gb_s)
        yield from usage.operations()
        gate = Gate(store, self._clock, self._operator_id, read_hub_settings().cache_dir, self._settings.data_dir)
        yield from admin_operations(gate, aliases, jobs, plane, self._led, self._journal, self.streams, self._clock)
        yield from LiveCalls(plane, aliases, self.streams, store.history, self._clock).operations()
        yield from ClusterCalls(plane, aliases, funds).operations()
        yield from V1Calls(plane, jobs, aliases, funds, listings, self._clock).operations()
        yield from self.artefact_calls.operations()


async def release(leadership: Leadership) -> None:
    """Has the next server follow at once. One that cannot be told waits until the lease ends."""
    with suppress(ModelyardError):
        await leadership.release()
