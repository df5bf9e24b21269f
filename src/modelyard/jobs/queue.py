"""Jobs: a model that somebody asked for is fetched, inspected, made into a variant if that is what it is, and measured,
beside another form of it where there may be one that answers equally.

Owns the order of the stages, one job at a time, and what the catalogue learns from them. The queue itself is in the
store, so that it outlives the server; a job that was under way is begun again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from modelyard.catalog.catalog import Catalog
from modelyard.catalog.forms import mark_of
from modelyard.catalog.index import listing_of
from modelyard.catalog.made_files import RoomFor
from modelyard.clock import Clock
from modelyard.control.boots import download_words
from modelyard.control.journal import Journal
from modelyard.control.placement import Never, Placed
from modelyard.control.plane import Plane
from modelyard.control.preparation import Preparing
from modelyard.control.replicas import BootSettings
from modelyard.control.routes import Routes
from modelyard.errors import ModelRefused, ModelyardError, NoCapacity, NotFound, QueueFull
from modelyard.jobs.benchmark import Figures, JobDeadlines, conclude, confirm, sweep
from modelyard.jobs.export_needs import export_bytes, variant_bytes
from modelyard.jobs.forms import (
    Speedup,
    add_words,
    check_makable,
    choose_form,
    compare_speed,
    fewer_threads,
    find_obstacle,
    may_have_other_form,
    with_threads,
)
from modelyard.jobs.measurements import Measurements
from modelyard.jobs.trial import TrialWorker
from modelyard.jobs.turns import JobTurns
from modelyard.records.jobs import Job, JobState
from modelyard.records.models import Form, Measurement, ModelCard, Progress
from modelyard.records.variants import VARIANTS_FOLDER, ExportOrder, VariantKind, split_variant
from modelyard.store.store import Store
from modelyard.tasks.base import Task
from modelyard.tasks.registry import find_task
from modelyard.tasks.shared.workload import workload

log = logging.getLogger(__name__)

OWNER = "modelyard"
"""The account in whose name benchmarks run: their instances are in the ledger, on nobody's bill."""
AVAILABLE = "Model available"
CANCELLED = "Cancelled by the operator of this server, who can say why"
POLL_S = 2.0
"""How soon a job is seen that another process has queued, and how often memory is looked for."""
JOB_S = 60.0
"""What a job of a small model takes: when it is worth asking again."""
ROOM_FACTOR = 1.5
ROOM_BYTES = 512 * 1024**2
"""A trial may take the estimate times the factor, and this much more: batches of long inputs need room to compute."""
BOTH_S = 60.0
"""How long the first of two workers waits for room for the second: what it holds may be what that waits for."""


class Jobs:
    """One server's jobs; one of them runs at a time."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        measurements: Measurements,
        plane: Plane,
        routes: Routes,
        journal: Journal,
        clock: Clock,
        *,
        owner_id: str,
        operator_id: str,
        room_for: RoomFor,
        server_id: str,
        data_dir: Path,
        deadlines: JobDeadlines,
        most_open: int = 20,
        billed: bool = False,
        forms: Sequence[VariantKind] = (),
        describe: Callable[[ModelyardError], str] = str,
    ) -> None:
        """`owner_id`: the account of OWNER, `operator_id`: the one for which variants are made that nobody asked for.
        `room_for`: keeps room for a variant within what an account may have on the disk. `server_id`: in whose name
        jobs are begun. `data_dir`: where variants are made. `most_open`: jobs of one account that may wait or be under
        way. `billed`: whoever asked pays for the workers that measure. `forms`: those of a model that are made and
        measured too. `describe`: why a job failed, in the words of those who ask for models."""
        self._store = store
        self._catalog = catalog
        self._measurements = measurements
        self._plane = plane
        self._routes = routes
        self._journal = journal
        self._clock = clock
        self._owner_id = owner_id
        self._operator_id = operator_id
        self._room_for = room_for
        self._server_id = server_id
        self._variants = data_dir / VARIANTS_FOLDER
        self._deadlines = deadlines
        self._most_open = most_open
        self._billed = billed
        self._forms = forms
        self._describe = describe
        self._turns = JobTurns(store, journal)
        self._poke = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        """By model, the job that is under way."""

    # --- life ---

    async def start(self) -> None:
        """Queues what an earlier server was at once more, and begins to work."""
        await asyncio.to_thread(self._store.jobs.requeue_interrupted, self._server_id)
        self._task = asyncio.create_task(self._work(), name="jobs")

    async def close(self) -> None:
        """Stops working; what is under way is begun again by the next server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _work(self) -> None:
        while True:
            self._poke.clear()
            job = None
            try:
                if self._journal.refusal is None:
                    job = await asyncio.to_thread(self._store.jobs.claim, self._server_id, self._clock.now())
                if job is not None:
                    await self._turns.note_begun(job)
            except ModelyardError as error:
                log.warning("the queue of jobs cannot be read: %s", error)
            if job is not None:
                await self._run_unless_cancelled(job)
                await self._journal.flush()  # what came of it is written before the next one begins
                continue
            try:
                async with asyncio.timeout(POLL_S):
                    await self._poke.wait()
            except TimeoutError:
                continue

    # --- what the gateway asks ---

    async def ask(self, account_id: str, model_id: str, *, again: bool = False) -> tuple[Job, bool]:
        """The model's job, queued when it is needed; True when this call queued it.

        One that is over is queued once more when `again`, or when the model's files have changed since. Raises
        UnknownModel, ModelRefused, QueueFull when the account has as many open as it may have, and what the catalog
        raises.
        """
        await self._check_open(account_id, model_id)
        # Before the card: a job that ends between the two has measured what the card does not say yet.
        known = await asyncio.to_thread(self._store.jobs.find, model_id)
        card = await self._find(model_id, account_id)
        available = card.model_id == model_id and card.measured
        outdated = known is not None and known.state is JobState.DONE and not available
        job, queued = await asyncio.to_thread(
            self._store.jobs.ask, model_id, account_id, self._clock.now(), again=again or outdated
        )
        if job.state is JobState.QUEUED:
            self._turns.note_asked(job.model_id, account_id)
        self._poke.set()
        return job, queued

    async def cancel(self, model_id: str) -> None:
        """Ends a model's job, waiting or under way, for everybody who has asked for it: it is FAILED, and says so.
        Raises NotFound when none waits or is under way."""
        if not await asyncio.to_thread(self._store.jobs.cancel, model_id, CANCELLED, self._clock.now()):
            raise NotFound(f"No job of {model_id} waits or is under way.", model=model_id)
        if (running := self._running.get(model_id)) is not None:
            running.cancel()

    async def _check_open(self, account_id: str, model_id: str) -> None:
        if await asyncio.to_thread(self._store.jobs.count_open, account_id) < self._most_open:
            return
        known = await asyncio.to_thread(self._store.jobs.find, model_id, account_id)
        if known is None or known.over:
            words = f"Your account has {self._most_open} jobs that are not over, which is as many as it may have."
            raise QueueFull(words, cause="jobs", limit=self._most_open, retry_after_s=JOB_S)

    async def _find(self, model_id: str, account_id: str | None = None) -> ModelCard:
        """The model's card; for a variant that is yet to be made, the card of what it is made of."""
        base_id, kind = split_variant(model_id)
        card = await self._catalog.find(model_id, account_id) if kind is not None else None
        if card is None:
            card = await self._catalog.get(base_id, account_id)
            check_makable(model_id, kind)
            if kind is not None and (quantisation := card.inspection.quantisation) is not None:
                raise ModelRefused(
                    f"{base_id} is quantised with {quantisation} already, and variants are made of weights that are "
                    "not. Use the original.",
                    model=base_id,
                )
        card.check_served()
        if kind is not None and card.base is not None:
            words = f"{base_id} is an adapter, and variants are made of whole models; merge it into its base first."
            raise ModelRefused(words, model=model_id)
        return card

    # --- one job ---

    async def _run_unless_cancelled(self, job: Job) -> None:
        running = self._running[job.model_id] = asyncio.create_task(self._run(job), name=f"job of {job.model_id}")
        try:
            await asyncio.wait({running})
        finally:
            running.cancel()
            await asyncio.wait({running})
            del self._running[job.model_id]
            self._turns.note_ended()

    async def _run(self, job: Job) -> None:
        known = await asyncio.to_thread(self._store.jobs.find, job.model_id)
        if known is None or known.over:  # cancelled as it began
            return
        try:
            await self._make_available(job)
        except ModelyardError as error:
            self._fail(job, error)
        except Exception:  # a bug must not end the work on other jobs
            log.exception("the job of %s failed", job.model_id)
            self._fail(job, ModelyardError("It could not be measured; the server's log says why."))
        else:
            self._move(job, JobState.DONE, AVAILABLE)

    def _fail(self, job: Job, error: ModelyardError) -> None:
        log.warning("the job of %s failed: %s", job.model_id, error)
        self._move(job, JobState.FAILED, self._describe(error))

    def _move(self, job: Job, state: JobState, message: str) -> None:
        """Notes how far a job has got. Returns at once; a store that is away learns it when it is back."""
        self._journal.submit(partial(self._store.jobs.move, job.model_id, state, message, self._clock.now()))

    async def _make_available(self, job: Job) -> None:
        """All stages of a job. Raises ModelyardError with what to tell whoever asked."""
        # STEP 1: the files are on this machine.
        card = await self._fetch(job, await self._find(job.model_id))
        # STEP 2: they are of a kind that this server runs.
        self._move(job, JobState.INSPECTING, "Looking at the model's files")
        task = find_task(card.task)
        if task is None:
            raise ModelRefused(f"{card.model_id} is a model for {card.task}, which this server cannot run.")
        # STEP 3: a variant is made of them.
        _, kind = split_variant(job.model_id)
        if kind is not None and card.model_id != job.model_id:
            card = await self._export(job, card, kind)
        # STEP 4: it is measured, in workers of its own.
        figures = await self._benchmark(job, card, task)
        # STEP 5: the catalogue knows.
        await self._learn(card, figures)
        # STEP 6: other forms of it are measured, and fewer threads; what is better serves from now on.
        if self._forms and kind is None and may_have_other_form(card, task):
            form = Form(None, "")
            for other in self._forms:
                form = await self._compare(job, card, task, figures, form, other)
            await self._learn(card, figures, await self._compare_threads(job, card, task, figures, form))

    async def _fetch(self, job: Job, card: ModelCard) -> ModelCard:
        """The card with the folder of its files, which are downloaded if they are not here."""
        words_before = ""

        def on_progress(progress: Progress) -> None:
            nonlocal words_before
            words = download_words(Preparing(progress.done_bytes, progress.total_bytes))
            if words != words_before:
                words_before = words
                self._move(job, JobState.DOWNLOADING, words)

        return await self._plane.prepare_model(job.account_id, card, on_progress)

    async def _compare(
        self, job: Job, card: ModelCard, task: Task, figures: Figures, best: Form, kind: VariantKind
    ) -> Form:
        """Makes and measures another form of the model; which serves, of that, unless it cannot be made, and `best`."""
        try:
            other = await self._catalog.find(f"{card.model_id}.{kind}")
            if other is None or other.inspection.original_mark != await asyncio.to_thread(mark_of, card):
                other = await self._export(job, card, kind)
            found = await self._benchmark(job, other, task, most_batch=figures.knee)
            await self._learn(other, found)
            if (obstacle := find_obstacle(figures, found, other.inspection.difference)) is not None:
                return replace(best, why=add_words(best, f"{kind}: {obstacle}"))
            settings = BootSettings(billed=self._billed, all_cores=True)
            self._move(job, JobState.BENCHMARKING, f"comparing it with its form in {kind}")
            served = await self._card_of(card, best)
            speedup = await self._measure_speedup(job, served, other, task, figures, settings)
        except ModelyardError as error:
            return replace(best, why=add_words(best, f"{kind}: {error.message}"))
        return choose_form(best, kind, speedup, figures, found, other.inspection.difference)

    async def _card_of(self, card: ModelCard, form: Form) -> ModelCard:
        return card if form.variant is None else await self._catalog.get(f"{card.model_id}.{form.variant}")

    async def _compare_threads(self, job: Job, card: ModelCard, task: Task, figures: Figures, form: Form) -> Form:
        """The form that serves, with fewer threads than a replica alone on this machine has, where that is faster."""
        cores, found = await self._plane.fewest_cores(), []
        try:
            served = await self._card_of(card, form)
            for threads in fewer_threads(cores):
                settings = BootSettings(billed=self._billed, all_cores=True, most_threads=threads)
                self._move(job, JobState.BENCHMARKING, f"comparing {threads} of {cores} threads")
                found.append((threads, await self._measure_speedup(job, served, served, task, figures, settings)))
        except ModelyardError as error:
            log.info("threads of %s were not compared: %s", card.model_id, error)
        return with_threads(form, found, cores or 1)

    async def _measure_speedup(
        self, job: Job, card: ModelCard, other: ModelCard, task: Task, figures: Figures, settings: BootSettings
    ) -> Speedup:
        """Two workers side by side, the other one's booted with `settings`; while one is asked, the other is idle, so
        that each may use all cores. Raises NoCapacity when there is no room for both."""
        sizes = workload(task, card.inspection.max_length, card.inspection.library)
        largest = next(size for size in sizes if size.name == figures.largest)
        own = BootSettings(billed=self._billed, all_cores=True)
        async with self._trial(job, card, own) as one, self._trial(job, other, settings, BOTH_S) as another:
            budget_s = self._deadlines.benchmark_s
            return await compare_speed(one.ask, another.ask, sizes[0], largest, budget_s=budget_s, knee=figures.knee)

    async def _export(self, job: Job, card: ModelCard, kind: VariantKind) -> ModelCard:
        """Makes the variant; its card."""
        variant_id = f"{card.model_id}.{kind}"
        need_bytes = min(await self._plane.largest_memory_bytes(), export_bytes(card))
        payer_id = job.account_id if variant_id == job.model_id else self._operator_id
        async with (
            self._room_for(variant_id, variant_bytes(card, kind), payer_id),
            self._memory_for(job, need_bytes) as placed,
        ):
            order = ExportOrder(
                path=str(card.path),
                task=card.task,
                kind=kind,
                target=str(self._variants / variant_id),
                model_id=card.model_id,
                revision=card.revision,
                mark=await asyncio.to_thread(mark_of, card),
                memory_limit_bytes=need_bytes,
            )
            await self._plane.export(order, placed, partial(self._move, job, JobState.EXPORTING))
        return await self._catalog.get(variant_id)

    @asynccontextmanager
    async def _memory_for(self, job: Job, memory_bytes: int) -> AsyncIterator[Placed]:
        """Sets memory aside, once it is free; where. Raises NoCapacity when no node ever has as much."""
        reason = None
        while not isinstance(found := await self._plane.reserve_memory(job.model_id, memory_bytes), Placed):
            if isinstance(found, Never):
                raise NoCapacity(f"Making {job.model_id} {found.reason}", cause=found.cause, model=job.model_id)
            if found.reason != reason:
                reason = found.reason
                self._move(job, JobState.EXPORTING, reason)
            await asyncio.sleep(POLL_S)
        try:
            yield found
        finally:
            await self._plane.release_memory(job.model_id)

    # --- measuring ---

    async def _benchmark(self, job: Job, card: ModelCard, task: Task, most_batch: int | None = None) -> Figures:
        """Two workers, one after the other: the first finds how many requests make the best batch, the second shows
        what a worker that goes no further than that holds. `most_batch`: larger ones are not tried."""
        max_batch = min(task.max_batch, most_batch or task.max_batch)
        sizes = workload(task, card.inspection.max_length, card.inspection.library)
        await self._plane.offer_model(card)
        room_bytes = min(await self._plane.largest_memory_bytes(), int(ROOM_FACTOR * card.memory_bytes) + ROOM_BYTES)
        settings = BootSettings(
            max_batch=max_batch, reserve_bytes=room_bytes, limit_bytes=room_bytes, billed=self._billed
        )
        tell = partial(self._move, job, JobState.BENCHMARKING)
        tell("waiting for a worker to measure it in")
        async with self._trial(job, card, settings) as worker:
            found = await sweep(
                worker.ask,
                sizes,
                streams=task.streams,
                max_batch=max_batch,
                joins=await worker.joins(),
                by_smallest=task.answers_in_one_pass,
                budget_s=self._deadlines.benchmark_s,
                on_progress=tell,
            )
        async with self._trial(job, card, replace(settings, max_batch=found.knee)) as worker:
            peaks = await confirm(
                worker.ask,
                found,
                memory=worker.peak_bytes,
                joins=await worker.joins(),
                budget_s=self._deadlines.benchmark_s,
                settle_s=self._deadlines.settle_s,
                on_progress=tell,
            )
            return conclude(
                found,
                load_s=await worker.load_s(),
                peaks=peaks,
                peak_device_bytes=await worker.peak_device_bytes(),
            )

    def _trial(self, job: Job, card: ModelCard, settings: BootSettings, wait_s: float | None = None) -> TrialWorker:
        return TrialWorker(
            self._plane,
            self._routes,
            job.account_id if self._billed else self._owner_id,
            card.model_id,
            settings,
            wait_s=self._deadlines.room_s if wait_s is None else wait_s,
        )

    async def _learn(self, card: ModelCard, figures: Figures, form: Form | None = None) -> None:
        """Records what was measured, for the catalogue and for every replica that boots from now on. `form`: the one
        that serves, if several were measured."""
        now, memory_bytes = self._clock.now(), figures.peak_bytes or card.memory_bytes
        await asyncio.to_thread(self._store.models.put, [listing_of(card, now)])
        await asyncio.to_thread(
            self._store.models.measure,
            card.model_id,
            memory_bytes=memory_bytes,
            measured_at=now,
            weight_bytes=card.inspection.weight_bytes,
            max_batch=figures.knee,
            device_bytes=figures.peak_device_bytes,
            benchmark=asdict(figures),
            form=None if form is None else asdict(form),
        )
        measurement = Measurement(
            memory_bytes,
            card.inspection.weight_bytes,
            figures.knee,
            device_bytes=figures.peak_device_bytes,
            precision=card.inspection.precision,
            form=form,
        )
        self._measurements.learn(card.model_id, measurement)
        await self._plane.forget_model(card.model_id)
