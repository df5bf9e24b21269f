"""Whatever happens to a server, the bill is the formula on the intervals that really were.

The real control loop, journal and store, with replicas whose true life the test knows, through starts, stops, crashes,
restarts and clocks that are set.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from modelyard.accounts.funds import Funds
from modelyard.accounts.ledger import by_day, lines, total
from modelyard.accounts.pricing import price
from modelyard.clock import SteadyClock
from modelyard.engine.base import Phase
from modelyard.gateway.metering import Metering, OwnBooks
from modelyard.protocol import Usage
from modelyard.records.accounts import Key
from modelyard.records.instances import Instance, Tariff
from modelyard.store import Store
from modelyard.units import GIB
from tests.clock import START, HandClock
from tests.control.control_plane import SMALL, TWIN, ControlPlane, make_models
from tests.properties import examples
from tests.store.program import Program

TICK_S = 2.5
RATE = 16_666_700
TARIFFS = [Tariff(RATE), Tariff(RATE, counts="life"), Tariff(RATE, minimum_s=7, round_s=0), Tariff(10**12, 0, 1)]
BOOT_CUT_SHORT = [("hold", True), ("put", SMALL, 2), ("wait", 90), ("die", 0), ("wait", 10), ("off", SMALL)]
BOOT_CRASHED = [("hold", True), ("put", SMALL, 1), ("wait", 70), ("crash", 9), ("wait", 50), ("crash", 3)]
_numbers = count(1)


@dataclass
class Life:
    """A replica's true life, on the monotonic clock."""

    started: float | None = None
    ready: float | None = None
    ended: float | None = None
    crashed: bool = False


@dataclass
class Game:
    """What happened over any number of servers, one after the other."""

    make: Callable[..., ControlPlane]
    tariff: Tariff
    moves: deque[tuple[Any, ...]]
    clock: HandClock = field(default_factory=HandClock)
    lives: dict[str, Life] = field(default_factory=dict)
    requests: dict[str, tuple[int, str]] = field(default_factory=dict)

    async def play(self) -> None:
        """Makes every move; at the end everything is stopped in order."""
        while True:
            async with self.make(clock=self.clock, tariff=self.tariff) as control:
                await self.settle(control)
                last = await self.serve(control)
                if last == "crash":
                    await control.kill()
                elif last == "end":
                    for model_id in (SMALL, TWIN):
                        if control.clusters.find(control.account, model_id) is not None:
                            await control.delete(model_id)
                    await self.settle(control)
            for life in self.lives.values():
                if life.ended is None:
                    life.ended, life.crashed = self.clock.monotonic(), last == "crash"
            if last == "end":
                return

    async def serve(self, control: ControlPlane) -> str:
        """Makes moves until the server dies or none is left; how it ended."""
        while self.moves:
            match self.moves.popleft():
                case ("put", model_id, number):
                    await control.put(model_id, min=0, desired=number, max=2, timeout=40)
                case ("off", model_id) if control.clusters.find(control.account, model_id) is not None:
                    await control.patch(model_id, status="off")
                case ("hold", held):
                    control.engine.hold_boots = held
                    if not held:
                        control.engine.release()
                case ("die", which) if control.engine.sightings():
                    ids = sorted(control.engine.sightings())
                    control.engine.die(ids[which % len(ids)])
                case ("wall", seconds):
                    self.clock.set_wall(seconds)
                case ("wait", quarters):
                    await self.wait(control, quarters / 4)
                case ("ask", model_id, quarters, cancelled):
                    await self.ask(control, model_id, quarters / 4, cancelled=cancelled)
                case (("crash" | "restart") as end, quarters):
                    self.clock.advance(quarters / 4 % TICK_S)  # a server does not die only when it has just looked
                    return end
            await self.settle(control)
        return "end"

    async def wait(self, control: ControlPlane, seconds: float) -> None:
        """Lets time pass as a server lives through it: it looks again and again."""
        while seconds > 0:
            self.clock.advance(min(seconds, TICK_S))
            seconds -= TICK_S
            await self.settle(control)

    async def settle(self, control: ControlPlane) -> None:
        """Lets what happens at this moment happen, and notes what the engine knows of it."""
        await control.settle()
        now, seen = self.clock.monotonic(), control.engine.sightings()
        for replica_id, sighting in seen.items():
            life = self.lives.setdefault(replica_id, Life())
            if sighting.phase in (Phase.LOADING, Phase.READY) and life.started is None:
                life.started = now
            if sighting.phase is Phase.READY and life.ready is None:
                life.ready = now
        for replica_id, life in self.lives.items():
            if replica_id not in seen and life.ended is None:
                life.ended = now

    async def ask(self, control: ControlPlane, model_id: str, seconds: float, *, cancelled: bool) -> None:
        """A request that takes so long on its replica, or leaves after that time; none where no replica gets ready."""
        cluster = await control.put(model_id, timeout=40)
        await self.settle(control)
        if not cluster.route.targets:
            return
        held = await control.ask(model_id)
        clock = SteadyClock(self.clock)
        books = OwnBooks(control.store, control.journal, Funds(control.store, clock))
        metering = Metering(books, clock, self.tariff, 10, control.server_id)
        key = Key("key_1", control.account, "", "", START)
        request_id = f"req_{next(_numbers)}"
        target = await held.served()
        took_us = int(seconds * 10**6)
        try:
            work = metering.request(request_id, key, model_id, price(GIB // 2, 0.0000166667))
            if work.reserves:
                await work.reserve()
            with work:
                await self.wait(control, seconds)
                work.spent(target.replica_id, Usage(took_us=took_us))
                if cancelled:
                    leave()
        except asyncio.CancelledError:
            control.routes.release(held.managed.route, target)
        else:
            held.answer()
        self.requests[request_id] = (took_us, "cancelled" if cancelled else "answered")


def leave() -> None:
    """What a request meets inside when its client goes."""
    raise asyncio.CancelledError


def true_cost(life: Instance, seconds: Fraction) -> Fraction:
    """The published formula, in billionths of a dollar."""
    assert life.tariff is not None
    billed = max(seconds, Fraction(life.tariff.minimum_s))
    step = life.tariff.round_s
    if step and seconds > life.tariff.minimum_s:
        billed = Fraction(-(-billed // step) * step)
    return Fraction(life.memory_bytes, GIB) * billed * Fraction(life.tariff.pico_per_gb_s, 1000)


def check(game: Game, store: Store, heartbeat_s: float) -> None:
    """The ledger's lines against the true lives."""
    ledger = {life.id: life for life in store.instances.list(None) if life.id in game.lives}
    assert ledger.keys() == game.lives.keys(), "every life is recorded, and once"
    bill = {line.instance_id: line for line in lines(ledger.values())}
    expected = Fraction(0)
    for instance_id, life in game.lives.items():
        begin = life.started if game.tariff.counts == "life" else life.ready
        assert ledger[instance_id].ended_at is not None
        if begin is None:
            assert instance_id not in bill
            continue
        assert life.ended is not None
        true_s = Fraction(life.ended) - Fraction(begin)
        billed_s = Fraction(bill[instance_id].charge.took_us, 10**6)
        if life.crashed:
            assert 0 <= true_s - billed_s <= Fraction(heartbeat_s + TICK_S), "no more than one heartbeat is lost"
        else:
            assert billed_s == true_s
        expected += true_cost(ledger[instance_id], billed_s)
    charged = total(bill.values()).amount_nano
    assert abs(charged - expected) <= Fraction(len(bill), 2), "each line is rounded once"
    assert total(by_day(ledger.values())) == total(bill.values())
    for request_id, (took_us, outcome) in game.requests.items():
        record = store.requests.find(request_id)
        assert record is not None
        assert (record.took_us, record.outcome, record.charged_nano) == (took_us, outcome, 0)
        assert record.cost_nano == price(GIB // 2, 0.0000166667).nano(took_us)


quarters = st.integers(0, 280)
model_ids = st.sampled_from([SMALL, TWIN])
moves = st.lists(
    st.one_of(
        st.tuples(st.just("put"), model_ids, st.integers(1, 2)),
        st.tuples(st.just("put"), model_ids, st.integers(1, 2)),
        st.tuples(st.just("off"), model_ids),
        st.tuples(st.just("hold"), st.booleans()),
        st.tuples(st.just("die"), st.integers(0, 3)),
        st.tuples(st.just("wall"), st.sampled_from([-86400, -3600, -1, 0.5, 3600, 86400])),
        st.tuples(st.just("wait"), quarters),
        st.tuples(st.just("wait"), quarters),
        st.tuples(st.just("ask"), model_ids, st.integers(0, 40), st.booleans()),
        st.tuples(st.just("crash"), quarters),
        st.tuples(st.just("restart"), quarters),
    ),
    min_size=3,
    max_size=12,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_models(tmp_path_factory.mktemp("models"))


@pytest.mark.hypothesis
def test_the_bill_is_the_formula_on_the_true_lives(store: Store, url: str, tmp_path: Path, models: Path) -> None:
    def make(**more: Any) -> ControlPlane:
        return ControlPlane(tmp_path, models, tmp_path / "unused", url=url, **more)

    played: list[Game] = []

    @examples(10, verified=500)
    @given(moves, st.sampled_from(TARIFFS))
    @example(BOOT_CUT_SHORT, TARIFFS[0])
    @example(BOOT_CUT_SHORT, TARIFFS[1])
    @example(BOOT_CRASHED, TARIFFS[0])
    @example(BOOT_CRASHED, TARIFFS[1])
    def any_moves(some: list[tuple[Any, ...]], tariff: Tariff) -> None:
        game = Game(make, tariff, deque(some))
        asyncio.run(game.play())
        check(game, store, heartbeat_s=10.0)
        played.append(game)

    any_moves()
    lives = [life for game in played for life in game.lives.values()]
    assert len(lives) > 20
    assert any(life.crashed and life.ready is not None for life in lives)
    assert any(life.ready is None for life in lives)
    outcomes = [outcome for game in played for _, outcome in game.requests.values()]
    assert {"answered", "cancelled"} <= {*outcomes}


def test_two_processes_writing_at_once_lose_and_double_nothing(
    store: Store, url: str, ledger_writers: list[Program]
) -> None:
    """Each has lives and requests of its own, and both write the same shared ones, in an order of their own."""
    account = store.accounts.create("ada", START)
    for number, program in enumerate(ledger_writers):
        program.start(url, "keep_a_ledger", account.id, number)
    truths = [program.result() for program in ledger_writers]
    ledger = {life.id: life for life in store.instances.list(account.id)}
    bill = {line.instance_id: line for line in lines(ledger.values())}
    true_us: dict[str, int] = {}
    for truth in truths:
        true_us |= truth["lives"]
    assert len(true_us) > 60
    assert {life.id for life in ledger.values()} == true_us.keys()
    assert {id_: line.charge.took_us for id_, line in bill.items()} == true_us
    expected = sum(true_cost(ledger[id_], Fraction(took, 10**6)) for id_, took in true_us.items())
    assert abs(total(bill.values()).amount_nano - expected) <= Fraction(len(bill), 2)
    charged: dict[str, int] = {}
    for truth in truths:
        charged |= truth["requests"]
    assert store.requests.spent_nano(account.id) == sum(charged.values())
