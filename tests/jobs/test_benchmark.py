"""Finding out what a model can do: on a simulated model whose time and memory are arithmetic, and on a real one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import pytest

from modelyard.errors import InferenceFailed, InvalidRequest, ModelyardError, ReplicaLost
from modelyard.jobs.benchmark import MOST_RUNS, Peaks, Sweep, conclude, confirm, find_knee, first_token_ms, sweep
from modelyard.jobs.requests import MOST_WAVES, Reply, keep_busy
from modelyard.tasks.base import Size

SIZES = [Size(f"{count} tokens", {"text": "word " * count}, tokens=count, new_tokens=10) for count in (10, 100, 1000)]


def tokens_of(fields: Mapping[str, Any]) -> int:
    return len(fields["text"].split())


def linear(tokens: int, batch: int) -> float:
    """Seconds of a model that gains nothing from batches."""
    return tokens * batch / 1000


def batching(tokens: int, batch: int) -> float:
    """Seconds of a model that takes batches of up to 8 for nothing."""
    return tokens * max(1, batch / 8) / 1000


@dataclass
class Simulation:
    """A worker whose clock moves only while it works. `fails` says what is wrong with so many tokens in one batch."""

    seconds: Callable[[int, int], float] = linear
    fails: Callable[[int, int], ModelyardError | None] = lambda tokens, batch: None
    max_batch: int = 32
    pieces: Sequence[str] = ()
    now: float = 0.0
    batches: list[tuple[int, int]] = field(default_factory=list)
    waiting: list[tuple[int, asyncio.Future[None]]] = field(default_factory=list)
    worker: asyncio.Task[None] | None = None

    async def ask(self, fields: Mapping[str, Any], params: Mapping[str, Any], stream: bool) -> Reply:
        began = self.now
        answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append((tokens_of(fields), answered))
        if self.worker is None or self.worker.done():
            self.worker = asyncio.create_task(self.work())
        await answered
        took = self.now - began
        said = [(took * (place + 1) / len(self.pieces), piece) for place, piece in enumerate(self.pieces)]
        return Reply(took, tuple(said) if stream else ())

    def take(self, most: int) -> list[tuple[int, asyncio.Future[None]]]:
        waiting = [each for each in self.waiting if not each[1].done()]  # what was cancelled waits no more
        batch, self.waiting = waiting[:most], waiting[most:]
        return batch

    async def work(self) -> None:
        """Works as long as something waits. The first is taken alone: it came when nothing ran."""
        batch = self.take(1)
        while batch:
            for _ in range(20):  # while it runs, whoever got an answer before sends the next request
                await asyncio.sleep(0)
            tokens = batch[0][0]
            self.batches.append((tokens, len(batch)))
            self.now += self.seconds(tokens, len(batch))
            error = self.fails(tokens, len(batch))
            done, batch = batch, self.take(self.max_batch)
            for _, answered in done:
                if not answered.done():
                    answered.set_result(None) if error is None else answered.set_exception(error)

    async def sweep(self, **more: Any) -> Sweep:
        settings = {"streams": False, "max_batch": self.max_batch, "budget_s": 600.0, "clock": lambda: self.now, **more}
        return await sweep(self.ask, SIZES, **settings)

    async def confirm(self, found: Sweep, memory: int | None = 7, **more: Any) -> Peaks:
        settings = {"memory": partial(answer, memory), "settle_s": 0.0, "clock": lambda: self.now, **more}
        return await confirm(self.ask, found, **settings)


async def answer(memory: int | None) -> int | None:
    return memory


def out_of_memory() -> ModelyardError:
    return InferenceFailed("The model ran out of memory.", out_of_memory=True)


# --- sweep ---


async def test_each_size_is_timed_alone() -> None:
    found = await Simulation().sweep()
    assert found.latency_ms == pytest.approx({"10 tokens": 10, "100 tokens": 100, "1000 tokens": 1000})
    assert found.largest is SIZES[2]
    assert found.rates[1] == pytest.approx(1.0)
    assert found.notes == ()


async def test_a_model_that_gains_nothing_from_batches_has_its_knee_at_one() -> None:
    found = await Simulation(linear).sweep()
    assert found.knee == 1
    assert set(found.rates) == {1, 2}


async def test_batches_grow_until_they_do_not_pay() -> None:
    simulation = Simulation(batching)
    found = await simulation.sweep()
    assert found.knee == 8
    assert set(found.rates) == {1, 2, 4, 8, 16}
    assert found.rates[8] == pytest.approx(8.0)
    assert found.tokens_per_s == pytest.approx(80.0)


async def test_what_slows_one_measuring_alone_does_not_end_the_batches() -> None:
    slowed = 0

    def beside_others(tokens: int, batch: int) -> float:
        nonlocal slowed
        slowed += batch == 4
        return batching(tokens, batch) * (5.0 if batch == 4 and slowed <= MOST_WAVES else 1.0)

    found = await Simulation(beside_others).sweep()
    assert slowed > MOST_WAVES
    assert found.knee == 8


def short_ones_batch(tokens: int, batch: int) -> float:
    """Seconds of a model whose batches pay while they are small, by a worker that makes none larger than pays."""
    return max(1.0, tokens * batch / 100)


async def test_the_knee_may_be_that_of_small_requests_and_is_told_with_the_rate_of_the_largest_there() -> None:
    simulation = Simulation(short_ones_batch)
    found = await simulation.sweep(by_smallest=True)
    assert found.knee == 16
    assert found.rates == {1: pytest.approx(0.1), 16: pytest.approx(0.1)}
    assert (await Simulation(short_ones_batch).sweep()).knee == 1
    assert max(count for tokens, count in simulation.batches if tokens == 10) == 32
    assert max(count for tokens, count in simulation.batches if tokens == 1000) == 16


async def test_the_knee_of_small_requests_is_lower_where_so_many_of_the_largest_do_not_fit() -> None:
    def fails(tokens: int, batch: int) -> ModelyardError | None:
        return out_of_memory() if tokens == 1000 and batch > 3 else None

    found = await Simulation(short_ones_batch, fails=fails).sweep(by_smallest=True, budget_s=6000.0)
    assert found.knee == 2
    assert [note.partition(":")[0] for note in found.notes] == [
        "1000 tokens, 16 at once", "1000 tokens, 8 at once", "1000 tokens, 4 at once"
    ]  # fmt: skip
    hurried = await Simulation(short_ones_batch, fails=fails).sweep(by_smallest=True)
    assert hurried.knee == 1


async def test_the_knee_of_small_requests_stands_where_there_is_no_time_for_the_largest() -> None:
    found = await Simulation(short_ones_batch).sweep(by_smallest=True, budget_s=90.0)
    assert found.knee == 16
    assert found.rates == {1: pytest.approx(0.1), 16: pytest.approx(0.1)}
    assert found.notes[-1] == "1000 tokens, 16 at once: not tried, there was no time left"


async def test_batches_are_full_and_no_larger_than_what_is_measured() -> None:
    simulation = Simulation(batching)
    await simulation.sweep()
    together = [count for tokens, count in simulation.batches if count > 1]
    assert together[:12] == [2, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16]
    assert together[12:] == [8, 8, 8, 16, 16, 16], "what seems not to pay is measured once more"


async def test_batches_stay_within_the_workers_limit() -> None:
    simulation = Simulation(batching, max_batch=4)
    found = await simulation.sweep()
    assert found.knee == 4
    assert max(count for _, count in simulation.batches) == 4


async def test_a_task_that_takes_one_at_a_time_is_asked_one_at_a_time() -> None:
    simulation = Simulation(batching, max_batch=1)
    assert (await simulation.sweep()).rates == {1: pytest.approx(1.0)}


async def test_a_size_that_does_not_fit_ends_the_sizes() -> None:
    simulation = Simulation(fails=lambda tokens, batch: out_of_memory() if tokens > 100 else None)
    found = await simulation.sweep()
    assert found.largest is SIZES[1]
    assert found.notes == ("1000 tokens: The model ran out of memory.",)


async def test_a_batch_that_does_not_fit_ends_the_batches() -> None:
    simulation = Simulation(batching, fails=lambda tokens, batch: out_of_memory() if batch > 4 else None)
    found = await simulation.sweep()
    assert found.knee == 4
    assert found.notes == ("8 at once: The model ran out of memory.",)


async def test_a_worker_that_dies_counts_as_out_of_memory() -> None:
    found = await Simulation(batching, fails=lambda tokens, batch: ReplicaLost() if batch > 2 else None).sweep()
    assert found.knee == 2
    assert len(found.notes) == 1


async def test_a_model_whose_smallest_request_does_not_fit_is_given_up() -> None:
    simulation = Simulation(fails=lambda tokens, batch: out_of_memory())
    with pytest.raises(InferenceFailed, match=r"smallest request \(10 tokens\).*more memory"):
        await simulation.sweep()
    assert len(simulation.batches) == 1


async def test_a_size_that_the_model_refuses_is_left_out() -> None:
    refusal = InvalidRequest("text: too short", field="text")
    found = await Simulation(fails=lambda tokens, batch: refusal if tokens == 10 else None).sweep()
    assert list(found.latency_ms) == ["100 tokens", "1000 tokens"]
    assert found.notes == ("10 tokens: text: too short",)


async def test_a_model_that_refuses_everything_is_quoted() -> None:
    refusal = InvalidRequest("text: this model cannot read", field="text")
    with pytest.raises(InvalidRequest, match="this model cannot read"):
        await Simulation(fails=lambda tokens, batch: refusal).sweep()


async def test_a_slow_model_is_asked_once_and_what_there_was_no_time_for_is_noted() -> None:
    simulation = Simulation(lambda tokens, batch: 100.0 * batch)
    found = await simulation.sweep(budget_s=60.0)
    assert found.latency_ms == {"10 tokens": pytest.approx(100_000)}
    assert found.knee == 1
    assert len(simulation.batches) == 2
    assert found.notes == (
        "100 tokens: not tried, there was no time left",
        "2 at once: not tried, there was no time left",
    )


async def test_the_time_stays_within_the_budget() -> None:
    for scale in (0.1, 1, 10):
        simulation = Simulation(lambda tokens, batch, scale=scale: scale * batching(tokens, batch))
        await simulation.confirm(await simulation.sweep(budget_s=60.0), budget_s=60.0)
        assert simulation.now < 60.0 + 3 * 10


async def test_streams_are_told_by_their_pieces() -> None:
    assert (await Simulation(pieces=["a", "b"]).sweep(streams=True)).streams
    assert not (await Simulation(pieces=["ab"]).sweep(streams=True)).streams
    assert not (await Simulation(pieces=["a", "b"]).sweep(streams=False)).streams


def test_the_prompt_at_the_head_of_a_stream_is_no_first_token() -> None:
    size = Size("small", {"text": "Once upon"})
    assert first_token_ms(Reply(3.0, ((0.1, "Once upon"), (2.0, " a"), (3.0, " time"))), size) == 2000
    assert first_token_ms(Reply(3.0, ((1.0, "Hello"), (3.0, " there"))), size) == 1000
    assert first_token_ms(Reply(3.0, ((0.1, "Once upon"),)), size) is None
    assert first_token_ms(Reply(3.0), size) is None


@pytest.mark.parametrize(
    ("rates", "knee"),
    [
        ({1: 10.0}, 1),
        ({1: 10.0, 2: 11.4}, 1),
        ({1: 10.0, 2: 11.5}, 2),
        ({1: 10.0, 2: 20.0, 4: 40.0, 8: 41.0}, 4),
        ({1: 10.0, 2: 10.0, 4: 40.0}, 1),
    ],
)
def test_knee(rates: dict[int, float], knee: int) -> None:
    assert find_knee(rates) == knee


async def test_progress_is_told() -> None:
    told: list[str] = []
    await Simulation(batching, max_batch=2, pieces=["a"]).sweep(streams=True, on_progress=told.append)
    assert told == [
        "trying 10 tokens",
        "trying 100 tokens",
        "trying 1000 tokens",
        "trying to stream",
        "trying 1000 tokens, 2 at once",
    ]


# --- a worker that begins requests while others run ---


@dataclass
class Slots:
    """Runs up to `most` requests at once, each taking `seconds(how many run)` of a clock of its own."""

    seconds: Callable[[int], float]
    most: int = 32
    now: float = 0.0
    running: int = 0
    seen: list[int] = field(default_factory=list)

    async def ask(self, fields: Mapping[str, Any], params: Mapping[str, Any], stream: bool) -> Reply:
        self.running += 1
        assert self.running <= self.most
        for _ in range(20):  # others begin meanwhile
            await asyncio.sleep(0)
        self.seen.append(self.running)
        self.now += self.seconds(self.running) / self.running
        self.running -= 1
        return Reply(self.seconds(1))


async def test_no_more_run_at_once_than_are_measured() -> None:
    slots = Slots(lambda running: 1.0)
    found = await sweep(
        slots.ask, SIZES, streams=False, max_batch=8, joins=True, budget_s=600.0, clock=lambda: slots.now
    )

    assert max(slots.seen) == 8
    assert found.knee == 8
    alone = 3 * MOST_RUNS + 1
    assert len(slots.seen) == alone + MOST_WAVES * (2 + 4 + 8)


async def test_what_one_of_several_clients_meets_is_raised_and_all_of_them_end() -> None:
    slots = Slots(lambda running: 1.0)

    async def ask(fields: Mapping[str, Any], params: Mapping[str, Any], stream: bool) -> Reply:
        reply = await slots.ask(fields, params, stream)
        if len(slots.seen) == 3:
            raise out_of_memory()
        return reply

    with pytest.raises(InferenceFailed, match="out of memory"):
        await keep_busy(ask, SIZES[0], 2, 600.0, lambda: slots.now, joins=True)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("benchmark client")]


# --- confirm ---


async def test_memory_is_measured_in_full_batches_of_the_knee() -> None:
    found = await Simulation(batching).sweep()
    fresh = Simulation(batching, max_batch=found.knee)
    assert (await fresh.confirm(found, memory=123)).bytes == 123
    assert (1000, 8) in fresh.batches
    assert max(fresh.batches) == (1000, 8)


async def test_what_one_request_takes_is_measured_before_batches_are() -> None:
    """Else models whose best batches differ could not be compared."""
    found = await Simulation(batching).sweep()
    fresh = Simulation(batching, max_batch=found.knee)

    async def most() -> int:
        return max((tokens * count for tokens, count in fresh.batches), default=0)

    settings = {"memory": most, "settle_s": 0.0, "clock": lambda: fresh.now}
    assert await confirm(fresh.ask, found, **settings) == Peaks(1000, 8000)
    assert await confirm(Simulation(batching).ask, replace(found, knee=1), **settings) == Peaks(8000, 8000)


async def test_a_worker_that_chooses_what_shares_a_batch_sees_small_requests_before_its_memory_is_measured() -> None:
    found = await Simulation(short_ones_batch).sweep(by_smallest=True)
    fresh = Simulation(short_ones_batch, max_batch=found.knee)
    await fresh.confirm(found)
    assert fresh.batches[:4] == [(1000, 1), (10, 1), (10, 16), (1000, 1)]


async def test_confirming_runs_once_even_without_time() -> None:
    found = replace(await Simulation(batching).sweep(), knee=4)
    fresh = Simulation(lambda tokens, batch: 1000.0, max_batch=4)
    await fresh.confirm(found, budget_s=1.0)
    assert (1000, 4) in fresh.batches


async def test_what_fails_in_the_fresh_worker_is_raised() -> None:
    found = await Simulation(batching).sweep()
    with pytest.raises(InferenceFailed, match="out of memory"):
        await Simulation(batching, fails=lambda tokens, batch: out_of_memory() if batch > 1 else None).confirm(found)


async def test_a_measurement_is_plain_data() -> None:
    found = await Simulation(batching, pieces=["a", "b"]).sweep(streams=True)
    measured = asdict(conclude(found, load_s=1.5, peaks=Peaks(None, None)))
    assert json.loads(json.dumps(measured)) == {
        "load_s": 1.5,
        "peak_bytes": None,
        "peak_bytes_alone": None,
        "latency_ms": pytest.approx({"10 tokens": 10.0, "100 tokens": 100.0, "1000 tokens": 1000.0}),
        "largest": "1000 tokens",
        "requests_per_s": pytest.approx(1.0),
        "requests_per_s_at_knee": pytest.approx(8.0),
        "knee": 8,
        "streams": True,
        "tokens_per_s": pytest.approx(80.0),
        "first_token_ms": pytest.approx(5.0),
        "notes": [],
        "peak_device_bytes": 0,
    }
