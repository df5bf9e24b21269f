"""Whatever gateways, servers and replicas do, in whatever order: no slot is lost or given twice, and nobody waits while
there is room."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.control.targets import Target
from modelyard.engine.base import Phase
from modelyard.engine.link import Link
from modelyard.gateway.following import kept_slots
from tests.control.control_plane import ControlPlane
from tests.engine.echo import ECHO
from tests.engine.fake import FakeEngine
from tests.gateway.following.test_following import FollowingGateway
from tests.gateway.following.test_leaders import Led
from tests.loop import turns
from tests.properties import examples

SOON_S = 10.0
PASSES_S = 0.05
"""By the clock of the control plane, with each turn of its loop."""
SLOTS = 2
GATEWAYS = 3
STEPS = (
    "ask", "ask", "ask", "ask alone", "answer", "answer", "answer", "leave", "break", "kill gateway", "cut", "look",
    "lead", "no leader", "kill replica", "lose replica", "scale", "turn", "turn", "settle",
)  # fmt: skip


@dataclass(eq=False)
class Asked:
    """One request, from when it asks for a slot. `is_seen`: what it was given was looked at."""

    gateway: FollowingGateway
    alone: bool
    task: asyncio.Task[Target]
    is_seen: bool = False

    @property
    def waits(self) -> bool:
        return not self.task.done()


class World:
    """A server and the next ones, gateways that follow them, and replicas that take two requests each."""

    def __init__(self, led: Led) -> None:
        self.led = led
        self.gateways: list[FollowingGateway] = []
        self.asked: list[Asked] = []
        self.is_led = True

    async def open(self) -> None:
        await self._lead()
        self.gateways = [await self.led.follow() for _ in range(GATEWAYS)]

    async def do(self, step: str, number: int) -> None:
        gateway = self.gateways[number % GATEWAYS]
        waiting = [each for each in self.asked if each.waits]
        served = [each for each in self.asked if not each.waits]
        replicas = self._living()
        match step:
            case "ask" | "ask alone":
                alone = step == "ask alone"
                self.asked.append(Asked(gateway, alone, gateway.ask(alone=alone)))
            case "answer" if served:
                self._end(served[number % len(served)], answered=True)
            case "break" if served:
                self._break(served[number % len(served)])
            case "leave" if waiting:
                leaving = waiting[number % len(waiting)]
                self.asked.remove(leaving)
                leaving.task.cancel()
            case "kill gateway":
                await self._replace(number % GATEWAYS)
            case "cut":
                gateway.follower.leave()
            case "look":
                await self._look(gateway)
            case "lead":
                await self._lead()
            case "no leader":
                await self.led.leader.close()
                self.is_led = False
            case "kill replica" if replicas:
                self._engine.die(replicas[number % len(replicas)], host_died=True)
            case "lose replica" if replicas:
                self._engine.lose(replicas[number % len(replicas)])
            case "scale":
                count = 1 + number % 2
                await self.led.control.patch(min=count, desired=count, max=count)
            case "settle":
                await self.settle()
            case _:
                self.led.control.step(after_s=PASSES_S)
        await turns(number)

    def check(self) -> None:
        """What holds at any moment: who was given a slot of a replica that lives can ask it; none was given twice."""
        served = [each for each in self.asked if not each.waits]
        for each in served:
            target = each.task.result()
            assert each.is_seen or not target.link.closed or target.replica_id not in self._living()
            each.is_seen = True
        held = Counter(each.task.result().replica_id for each in served)
        for replica_id, target in self.led.route.targets.items():
            assert held[replica_id] <= max(SLOTS, target.in_flight)

    async def settle(self) -> None:
        """All follow whoever leads; nobody waits who could be served."""
        if not self.is_led:
            await self._lead()
        for gateway in self.gateways:
            await self._look(gateway)
        await self._until(lambda: not self._waits_beside_room())

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Turns the loop until `condition` holds, while time passes."""
        async with asyncio.timeout(SOON_S):
            while not condition():
                self.led.control.step(after_s=PASSES_S)
                await asyncio.sleep(0.001)

    async def leave(self) -> None:
        """All are served in turn, and answered."""
        await self.settle()
        while self.asked:
            served = [each for each in self.asked if not each.waits]
            assert served, "nobody waits for ever"
            for each in served:
                self._end(each, answered=True)
            await self.settle()
        await self._until(lambda: not [*self.left_over()])
        for gateway in self.gateways:
            await gateway.die()

    def left_over(self) -> Iterator[str]:
        """What of the requests is still there, on either side."""
        route = self.led.route
        if self.led.load() != (0, 0) or route.leaving or route.waiting_elsewhere:
            yield f"{self.led.load()} {route.leaving} {route.waiting_elsewhere}"
        for target in route.targets.values():
            if target.in_flight or target.idle or target.process.in_flight or target.process.idle or target.alone:
                yield f"{target}"
        for session in self.led.leader.sessions:
            if session._slots or session._waiting or session._asking or session.loans._by_cluster:
                yield f"{session._slots} {session._waiting} {session._asking}"
        for gateway in self.gateways:
            kept = gateway.slots._kept
            if gateway.slots._held or gateway.follower._asked or any(each.lent for each in kept._shares.values()):
                yield f"{gateway.slots._held} {gateway.follower._asked}"

    # --- what is done ---

    @property
    def _engine(self) -> FakeEngine:
        engine = self.led.control.engine
        assert isinstance(engine, FakeEngine)
        return engine

    def _living(self) -> list[str]:
        return [each.replica_id for each in self._engine.sightings().values() if each.phase is Phase.READY]

    def _end(self, ended: Asked, *, answered: bool) -> None:
        self.asked.remove(ended)
        ended.gateway.slots.release(self.led.route, ended.task.result(), answered=answered)

    def _break(self, broken: Asked) -> None:
        """The connection of its gateway to its replica breaks."""
        target = broken.task.result()
        if isinstance(link := target.link._link, Link):  # type: ignore[attr-defined] - of a gateway's target
            link.abort()
        broken.gateway.slots.lose(self.led.route, target)
        self._end(broken, answered=False)

    async def _lead(self) -> None:
        await self.led.lead()
        self.is_led = True

    async def _look(self, gateway: FollowingGateway) -> None:
        if self.is_led:
            await self.led.look(gateway)

    async def _replace(self, number: int) -> None:
        gateway = self.gateways[number]
        lost = [each for each in self.asked if each.gateway is gateway]
        self.asked = [each for each in self.asked if each not in lost]
        await gateway.die()
        await asyncio.gather(*(each.task for each in lost), return_exceptions=True)
        if not self.is_led:
            await self._lead()
        self.gateways[number] = await self.led.follow()

    def _waits_beside_room(self) -> bool:
        """Whether a request waits that could have a slot, as far as their clients know."""
        waiting = [each for each in self.asked if each.waits]
        if not waiting:
            return False
        held = [each for each in self.asked if not each.waits]
        targets = self.led.route.targets
        if not targets:
            return True
        busy = Counter(each.task.result().replica_id for each in held)
        alone = {each.task.result().replica_id for each in held if each.alone}
        if any(each.alone for each in waiting):
            return any(not busy[replica_id] for replica_id in targets)
        return any(busy[replica_id] < SLOTS and replica_id not in alone for replica_id in targets)


@pytest.fixture
async def led(tmp_path: Path, models: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Led]:
    for name in ("IDLE_S", "LENT_S", "WAIT_S"):
        monkeypatch.setattr(kept_slots, name, getattr(kept_slots, name) / 10)
    make_engine = partial(FakeEngine, task=replace(ECHO, max_batch=SLOTS))
    with ExitStack() as stack:
        async with ControlPlane(tmp_path, models, database, make_engine=make_engine) as control:
            led = Led(control, tmp_path / "follow", stack)
            await led.lead()
            await control.up(min=1, desired=1, max=2)
            yield led
            await led.close()


@examples(12)
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 11)), min_size=20, max_size=60))
async def test_no_slot_is_lost_or_given_twice_and_nobody_waits_while_there_is_room(
    led: Led, steps: list[tuple[str, int]]
) -> None:
    world = World(led)
    await world.open()
    for step, number in steps:
        await world.do(step, number)
        world.check()
    await world.leave()
