"""What a model can do, found out by asking it: how fast, how many at once, how large, how much memory.

In two phases, each on a worker of its own. `sweep` goes up to the limits, and finds the knee: the batch beyond which
larger ones hardly pay. `confirm` then works at the knee in a fresh worker that batches no more than that, as replicas
will; the most that worker has held is what the model needs. Owns the order of requests and the arithmetic; starts no
worker and knows no task.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from modelyard.errors import InferenceFailed, ModelyardError, ReplicaLost
from modelyard.jobs.requests import MOST_WAVES, Ask, Clock, Reply, keep_busy
from modelyard.tasks.base import Size

BUDGET_S = 60.0
"""For both phases together; a model that needs longer is still asked once in each."""
SWEEP_SHARE = 2 / 3
ALONE_SHARE = 0.4
"""Of the sweep's time, for requests that run alone."""
MOST_RUNS = 5
WORTHWHILE = 1.15
"""A batch twice as large pays when it answers this much more per second."""
SETTLE_S = 3.0
"""A worker says what it holds at most this long after an answer (see `worker.life.MEMORY_EVERY_S`)."""
LOOK_EVERY_S = 0.05


OnProgress = Callable[[str], None]
"""Told, in a few words, what is being tried."""


@dataclass(frozen=True, slots=True)
class JobDeadlines:
    """How long a job's parts may take, in seconds. `room_s`: to find room and boot; `benchmark_s`: each measuring;
    `settle_s`: until a worker has said what it holds."""

    room_s: float = 1800.0
    benchmark_s: float = 60.0
    settle_s: float = SETTLE_S


@dataclass(frozen=True, slots=True)
class Sweep:
    """What the first phase found. `latency_ms`: by size, alone, smallest first; `rates`: requests per second of the
    largest size, by batch. `smallest`: the size that the knee is of, where it is not the largest. `streams`: an answer
    came in more than one piece. Speeds of words are those of the largest size, and None where nothing says how many
    there were.
    """

    largest: Size
    latency_ms: dict[str, float]
    rates: dict[int, float]
    knee: int
    smallest: Size | None = None
    streams: bool = False
    first_token_ms: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def tokens_per_s(self) -> float | None:
        """New tokens per second in batches of the knee."""
        made = self.largest.new_tokens
        return None if made is None else made * self.rates[self.knee]


@dataclass(frozen=True, slots=True)
class Figures:
    """A benchmark's figures, ready for JSON. `peak_bytes`: what it held in batches of `knee`, `peak_bytes_alone` while
    requests ran one by one; None where the system does not tell. `peak_device_bytes`: 0 where no accelerator was used;
    `requests_per_s`: of the largest size, one by one, and `requests_per_s_at_knee` in
    batches of `knee`.
    """

    load_s: float
    peak_bytes: int | None
    latency_ms: dict[str, float]
    largest: str
    requests_per_s: float
    requests_per_s_at_knee: float
    knee: int
    streams: bool
    tokens_per_s: float | None = None
    first_token_ms: float | None = None
    notes: tuple[str, ...] = ()
    peak_device_bytes: int = 0
    peak_bytes_alone: int | None = None


@dataclass(frozen=True, slots=True)
class Peaks:
    """The most that the second phase's worker held: while one request ran, and in all. None: it does not know."""

    alone_bytes: int | None
    bytes: int | None


def conclude(sweep: Sweep, *, load_s: float, peaks: Peaks, peak_device_bytes: int = 0) -> Figures:
    """Both phases' figures. `load_s`: from launch to ready; `peaks`: what `confirm` returned; `peak_device_bytes`:
    what the second phase's worker held on an accelerator."""
    return Figures(
        load_s=load_s,
        peak_bytes=peaks.bytes,
        peak_bytes_alone=peaks.alone_bytes,
        latency_ms=sweep.latency_ms,
        largest=sweep.largest.name,
        requests_per_s=sweep.rates[1],
        requests_per_s_at_knee=sweep.rates[sweep.knee],
        knee=sweep.knee,
        streams=sweep.streams,
        tokens_per_s=sweep.tokens_per_s,
        first_token_ms=sweep.first_token_ms,
        notes=sweep.notes,
        peak_device_bytes=peak_device_bytes,
    )


def report_nothing(_: str) -> None:
    """Tells nobody."""


async def sweep(
    ask: Ask,
    sizes: Sequence[Size],
    *,
    streams: bool,
    max_batch: int,
    joins: bool = False,
    by_smallest: bool = False,
    budget_s: float = BUDGET_S,
    on_progress: OnProgress = report_nothing,
    clock: Clock = time.perf_counter,
) -> Sweep:
    """The first phase. `sizes`: smallest first, at least one; `streams`: the task can; `max_batch` and `joins`: as the
    worker says. `by_smallest`: the knee is that of the smallest size, not of the largest: of workers that put no more
    of the larger ones into a batch than gains by it.

    What does not fit ends the search there, and a note says so. A size that the model refuses is left out.

    Raises: the model's own error when no size works; InferenceFailed, with what to do, when not even the smallest fits.
    """
    end = clock() + budget_s * SWEEP_SHARE
    return await _Search(ask, streams, max_batch, joins, by_smallest, clock, end, on_progress).run(sizes)


async def confirm(
    ask: Ask,
    found: Sweep,
    *,
    memory: Callable[[], Awaitable[int | None]],
    joins: bool = False,
    budget_s: float = BUDGET_S,
    settle_s: float = SETTLE_S,
    on_progress: OnProgress = report_nothing,
    clock: Clock = time.perf_counter,
) -> Peaks:
    """The second phase, on a fresh worker that batches at most `found.knee`: one request of the largest size, some of
    the smallest where the knee is of that, by which the worker learns what may share a batch, then full batches.

    `memory`: the most that this worker has held, by its own words, None when it does not know; what it says at the
    latest `settle_s` after an answer counts. `joins`: see `sweep`. Raises what the model answers, InferenceFailed with
    `out_of_memory` when it does not fit here.
    """
    size, batch = found.largest, found.knee
    on_progress(f"measuring memory: {size.name}, {batch} at once")
    end = clock() + budget_s * (1 - SWEEP_SHARE)
    before = await memory()
    await ask(size.fields, size.params, False)
    alone = await _await_growth(memory, before, settle_s) if batch > 1 else None
    if found.smallest is not None:
        await keep_busy(ask, found.smallest, batch, clock(), clock, joins=joins)
    await keep_busy(ask, size, batch, end, clock, joins=joins)
    await asyncio.sleep(settle_s)
    peak = await memory()
    return Peaks(peak if batch == 1 else alone, peak)


async def _await_growth(memory: Callable[[], Awaitable[int | None]], before: int | None, settle_s: float) -> int | None:
    """What the worker says after its first request, of which it says at once when it has grown by it."""
    for _ in range(round(settle_s / LOOK_EVERY_S)):
        if (now := await memory()) != before:
            return now
        await asyncio.sleep(LOOK_EVERY_S)
    return await memory()


@dataclass(slots=True)
class _Search:
    """A sweep in progress: the time it has, and what it has noted."""

    ask: Ask
    streams: bool
    max_batch: int
    joins: bool
    by_smallest: bool
    clock: Clock
    end: float
    on_progress: OnProgress
    notes: list[str] = field(default_factory=list)

    async def run(self, sizes: Sequence[Size]) -> Sweep:
        """See `sweep`."""
        alone = await self._alone(sizes)
        smallest, (largest, seconds) = alone[0][0], alone[-1]
        streamed = await self._streamed(smallest) if self.streams else None
        size, alone_s = alone[0] if self.by_smallest else alone[-1]
        rates = {1: 1 / alone_s, **await self._together(size, 1 / alone_s)}
        knee = find_knee(rates)
        if size is not largest:
            rates = {1: 1 / seconds, **await self._at_most(largest, 1 / seconds, knee)}
            knee = max(rates)
        return Sweep(
            largest=largest,
            latency_ms={size.name: taken * 1000 for size, taken in alone},
            rates=rates,
            knee=knee,
            smallest=None if size is largest else size,
            streams=streamed is not None and len(streamed.pieces) > 1,
            first_token_ms=None if streamed is None else first_token_ms(streamed, smallest),
            notes=tuple(self.notes),
        )

    async def _alone(self, sizes: Sequence[Size]) -> list[tuple[Size, float]]:
        """The sizes that work, smallest first, each with its median seconds."""
        worked: list[tuple[Size, float]] = []
        refusal: ModelyardError | None = None
        share_s = self._left() * ALONE_SHARE / len(sizes)
        for size in sizes:
            if worked and self._left() <= 0:
                self.notes.append(f"{size.name}: not tried, there was no time left")
                break
            self.on_progress(f"trying {size.name}")
            try:
                if not worked:
                    await self.ask(size.fields, size.params, False)  # warms up
                worked.append((size, await self._median(size, share_s)))
            except ModelyardError as error:
                if is_too_much(error):
                    if not worked:
                        raise does_not_fit(size, error) from error
                    self.notes.append(f"{size.name}: {error.message}")
                    break
                refusal = refusal or error
                self.notes.append(f"{size.name}: {error.message}")
        if not worked:
            assert refusal is not None, "at least one size"  # noqa: S101
            raise refusal
        return worked

    async def _median(self, size: Size, share_s: float) -> float:
        """Seconds of one request, the median of as many as there is time for."""
        taken: list[float] = []
        while not taken or (len(taken) < MOST_RUNS and sum(taken) + median(taken) <= share_s):
            taken.append((await self.ask(size.fields, size.params, False)).seconds)
        return median(taken)

    async def _streamed(self, size: Size) -> Reply | None:
        self.on_progress("trying to stream")
        try:
            return await self.ask(size.fields, size.params, True)
        except ModelyardError as error:
            self.notes.append(f"streamed: {error.message}")
            return None

    async def _together(self, size: Size, rate: float) -> dict[int, float]:
        """Requests per second by batch, doubled until that no longer pays. `rate`: one by one."""
        rates: dict[int, float] = {}
        batch = 2
        while batch <= self.max_batch:
            if self._left() < (batch + 1) / rate:
                self.notes.append(f"{batch} at once: not tried, there was no time left")
                break
            self.on_progress(f"trying {size.name}, {batch} at once")
            try:
                until = self.clock() + self._left() / 3
                rates[batch] = await keep_busy(self.ask, size, batch, until, self.clock, joins=self.joins)
            except ModelyardError as error:
                self.notes.append(f"{batch} at once: {error.message}")
                break
            if rates[batch] < rate * WORTHWHILE:
                rates[batch] = max(rates[batch], rate * await self._gain(size, batch))
            if rates[batch] < rate * WORTHWHILE:
                break
            rate, batch = rates[batch], 2 * batch
        return rates

    async def _gain(self, size: Size, batch: int) -> float:
        """How many times as many requests per second such a batch answers as one half as large, both measured once
        more, one right after the other: what else the machine does may have slowed the larger one alone, and a model
        would be held to small batches for it. 0 where there is no time left."""
        half = batch // 2
        if self._left() < 2 * MOST_WAVES * (await self.ask(size.fields, size.params, False)).seconds * batch:
            return 0.0
        now = self.clock()
        before = await keep_busy(self.ask, size, half, now + self._left() / 4, self.clock, joins=self.joins)
        after = await keep_busy(self.ask, size, batch, now + self._left() / 3, self.clock, joins=self.joins)
        return after / before

    async def _at_most(self, size: Size, rate: float, batch: int) -> dict[int, float]:
        """Requests per second, by how many are sent at once: `batch`, or as many fewer as fit. `rate`: one by one, what
        is told where there is no time to try; nothing is, where more did not fit."""
        most = batch
        while batch > 1:
            if self._left() < (batch + 1) / rate:
                self.notes.append(f"{size.name}, {batch} at once: not tried, there was no time left")
                return {batch: rate} if batch == most else {}
            self.on_progress(f"trying {size.name}, {batch} at once")
            try:
                until = self.clock() + self._left() / 3
                return {batch: await keep_busy(self.ask, size, batch, until, self.clock, joins=self.joins)}
            except ModelyardError as error:
                self.notes.append(f"{size.name}, {batch} at once: {error.message}")
                batch //= 2
        return {}

    def _left(self) -> float:
        """Seconds left."""
        return self.end - self.clock()


def find_knee(rates: Mapping[int, float]) -> int:
    """The smallest batch beyond which one twice as large does not pay. `rates`: requests per second by batch."""
    batch = 1
    while 2 * batch in rates and rates[2 * batch] >= rates[batch] * WORTHWHILE:
        batch *= 2
    return batch


def first_token_ms(reply: Reply, size: Size) -> float | None:
    """When the first new words came. A stream that begins with the prompt has new ones only behind it."""
    prompt = size.fields.get("text")
    text = ""
    for seconds, piece in reply.pieces:
        text += piece
        if not (isinstance(prompt, str) and prompt.startswith(text)):
            return seconds * 1000
    return None


def is_too_much(error: ModelyardError) -> bool:
    """Whether the worker ran out of memory. One that has died was most likely killed for it."""
    return error.data.get("out_of_memory") is True or isinstance(error, ReplicaLost)


def does_not_fit(size: Size, error: ModelyardError) -> InferenceFailed:
    """What to say when nothing works."""
    return InferenceFailed(
        f"Not even the smallest request ({size.name}) fits into the memory: {error.message} "
        "Choose a smaller model, or give this one more memory.",
        out_of_memory=True,
    )
