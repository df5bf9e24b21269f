"""The retry rule, on links that do as a test says: what is tried elsewhere when a replica dies, and what is not."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from modelyard.control.autoscaler import Load
from modelyard.control.routes import Route
from modelyard.engine.link import Exchange, Link
from modelyard.errors import (
    ClusterOff,
    DeadlineExceeded,
    InferenceFailed,
    InputTooLarge,
    ModelyardError,
    ReplicaLost,
)
from modelyard.gateway.destinations.replicas import MAX_DEATHS, MAX_TRIES, Replicas, Slot
from modelyard.gateway.model_request import ModelRequest
from modelyard.protocol import Chunk, Done, Failure, Outcome, Usage
from modelyard.records.deaths import Death, Lack
from modelyard.units import GIB, MIB
from tests.control.control_plane import SMALL
from tests.engine.harness import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.http_client import HttpClient
from tests.loop import turns

DIES = None
"""In a script: the connection is gone."""
KILLED = Death("killed by SIGKILL")
ANSWER = Outcome("done", Usage(new_tokens=1))


class ScriptedLink(Link):
    """A connection without a socket. `script`: what a replica does with each request: pieces, an outcome, an error,
    DIES; what ends with a piece, or says nothing, goes on until it is cancelled. `deaf`: then also. `death`: how its
    process ended."""

    def __init__(
        self,
        *script: str | Outcome | ModelyardError | None,
        gone: bool = False,
        deaf: bool = False,
        death: Death = KILLED,
    ) -> None:
        self._death = asyncio.get_running_loop().create_future()
        self._death.set_result(death)
        self._script = script
        self._gone = gone
        self._deaf = deaf
        self.exchanges: list[Exchange] = []
        self.requests: list[dict[str, Any]] = []
        self.cancelled = asyncio.Event()
        self.asked = asyncio.Event()

    @property
    def closed(self) -> bool:
        return False  # as the gateway sees it until it writes

    def request(self, fields: dict[str, Any], params: dict[str, Any], *, stream: bool, timed: bool = False) -> Exchange:
        if self._gone:
            raise ReplicaLost()
        self.requests.append(fields)
        exchange = Exchange(self, len(self.requests))
        for step in self._script:
            exchange.feed(frame(exchange.id, step))
        self.exchanges.append(exchange)
        self.asked.set()
        return exchange

    def abandon(self, exchange: Exchange) -> None:
        if not exchange.finished:
            self.cancelled.set()
            if not self._deaf:
                exchange.feed(frame(exchange.id, InferenceFailed("Cancelled.")))


def frame(request_id: int, step: str | Outcome | ModelyardError | None) -> Chunk | Done | Failure | None:
    match step:
        case str():
            return Chunk(request_id, step)
        case Outcome():
            return Done(request_id, step)
        case ModelyardError():
            return Failure.of(request_id, step)
    return None


@dataclass(eq=False)
class Inference:
    """One inference to replicas with these links, in this order. `pieces`: what its client was given; `spent`: what was
    charged, by replica."""

    gateway: Gateway
    request: ModelRequest
    route: Route
    pieces: list[str] = field(default_factory=list)
    spent: list[tuple[str, int]] = field(default_factory=list)

    async def run(
        self,
        *links: ScriptedLink,
        stream: bool = False,
        slots: int = 1,
        queue_wait_s: float = 100.0,
        cancel_grace_s: float = 60.0,
    ) -> Outcome:
        """Without `links`: to those that there are."""
        routes, plane = self.gateway.control.routes, self.gateway.control.plane
        if links:
            targets = {f"in_{number}": (link, slots) for number, link in enumerate(links, 1)}
            routes.publish(self.route.cluster_id, targets)
        replicas = Replicas(plane, routes, queue_wait_s=queue_wait_s, cancel_grace_s=cancel_grace_s)
        return await replicas.run(self.request, self._take if stream else None, self._note)

    async def _take(self, piece: str) -> None:
        self.pieces.append(piece)

    def _note(self, replica_id: str, usage: Usage) -> None:
        self.spent.append((replica_id, usage.took_us))

    @property
    def tried(self) -> list[str]:
        """The replicas, in order."""
        return [replica_id for replica_id, _ in self.spent]


@pytest.fixture
async def inference(gateway: Gateway) -> Inference:
    """A request as the gateway sends it on, and its cluster, which has no replicas yet."""
    await gateway.ask(HttpClient({"text": "hello"}, key=gateway.key))
    (request,) = gateway.destination.requests
    return Inference(gateway, request, await gateway.control.plane.ensure_route(request.key.account_id, SMALL))


@pytest.mark.parametrize("stream", [False, True])
async def test_a_request_nobody_has_begun_to_answer_is_tried_on_another_replica(
    inference: Inference, stream: bool
) -> None:
    dying, healthy = ScriptedLink(DIES), ScriptedLink("done", ANSWER)
    outcome = await inference.run(dying, healthy, stream=stream)
    assert outcome.output == "done"
    assert dying.requests == healthy.requests == [inference.request.inference.fields]
    assert inference.pieces == (["done"] if stream else [])


async def test_the_time_of_a_replica_that_died_is_nobodys(inference: Inference) -> None:
    outcome = await inference.run(ScriptedLink(DIES), ScriptedLink(ANSWER))
    (died, in_vain_us), (answered, took_us) = inference.spent
    assert (died, in_vain_us, answered) == ("in_1", 0, "in_2")
    assert took_us == outcome.usage.took_us > 0
    assert inference.route.finished == 1


async def test_a_request_whose_answer_only_its_replica_has_seen_is_tried_again(inference: Inference) -> None:
    """Without a stream the client has seen no piece."""
    assert (await inference.run(ScriptedLink("do", DIES), ScriptedLink(ANSWER))).output == "done"
    assert inference.tried == ["in_1", "in_2"]


async def test_a_request_runs_on_the_route_that_it_was_admitted_with(inference: Inference) -> None:
    inference.request = replace(inference.request, route=inference.route)
    assert (await inference.run(ScriptedLink(ANSWER))).output == "done"
    assert inference.route.finished == 1


async def test_a_request_whose_cluster_was_deleted_before_it_ran_is_told_so(inference: Inference) -> None:
    inference.request = replace(inference.request, route=inference.route)
    inference.gateway.control.routes.remove(inference.route.cluster_id, ClusterOff("It was deleted.", cause="deleted"))
    with pytest.raises(ClusterOff, match="deleted"):
        await inference.run()


async def test_a_connection_that_is_gone_before_the_request_is_sent_is_passed_over(inference: Inference) -> None:
    assert (await inference.run(ScriptedLink(gone=True), ScriptedLink(ANSWER))).output == "done"


async def test_a_stream_that_has_begun_breaks_off_and_is_not_tried_again(inference: Inference) -> None:
    other = ScriptedLink("done", ANSWER)
    with pytest.raises(ReplicaLost):
        await inference.run(ScriptedLink("do", DIES), other, stream=True)
    assert inference.pieces == ["do"]
    assert other.requests == []
    assert inference.spent == [("in_1", 0)]


async def test_a_client_that_leaves_cancels_its_request_and_is_not_served_elsewhere(inference: Inference) -> None:
    working, other = ScriptedLink("do"), ScriptedLink(ANSWER)
    running = asyncio.create_task(inference.run(working, other, stream=True))
    await working.asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert working.cancelled.is_set()
    assert other.requests == []
    assert inference.tried == ["in_1"]
    assert inference.spent[0][1] > 0
    assert inference.route.load().in_flight == 0


async def test_a_request_holds_its_replica_until_that_has_let_go(inference: Inference) -> None:
    working = ScriptedLink("do", deaf=True)
    running = asyncio.create_task(inference.run(working, stream=True))
    await working.asked.wait()
    for _ in range(3):  # however often
        running.cancel()
        await asyncio.sleep(0)
    await working.cancelled.wait()
    assert inference.route.load().in_flight == 1
    assert inference.spent == []
    assert not running.done()
    working.exchanges[-1].feed(frame(1, InferenceFailed("Cancelled.")))
    with pytest.raises(asyncio.CancelledError):
        await running
    assert inference.route.load().in_flight == 0
    assert [replica_id for replica_id, took_us in inference.spent if took_us > 0] == ["in_1"]


async def test_a_replica_that_dies_before_it_has_let_go_holds_nobody_up(inference: Inference) -> None:
    working = ScriptedLink("do", deaf=True)
    running = asyncio.create_task(inference.run(working, stream=True))
    await working.asked.wait()
    running.cancel()
    await working.cancelled.wait()
    working.exchanges[-1].feed(DIES)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert inference.route.load().in_flight == 0
    assert inference.spent[0][1] > 0


async def test_what_the_model_answers_is_final(inference: Inference) -> None:
    other = ScriptedLink(ANSWER)
    with pytest.raises(InferenceFailed, match="It broke"):
        await inference.run(ScriptedLink(InferenceFailed("It broke.")), other)
    assert other.requests == []
    assert inference.route.finished == 0


async def test_a_request_that_two_replicas_died_with_is_given_up(inference: Inference) -> None:
    links = [ScriptedLink(DIES) for _ in range(MAX_DEATHS + 1)]
    with pytest.raises(ReplicaLost, match="2 replicas died while they held this request") as raised:
        await inference.run(*links)
    assert (raised.value.data["cause"], raised.value.data["model"]) == ("tries", SMALL)
    assert [len(link.requests) for link in links] == [1, 1, 0]
    assert inference.route.load().in_flight == 0


@pytest.mark.parametrize(
    ("lack", "end"), [("limit", "1,024 MB."), ("machine", "1,024 MB, and its machine had no more.")]
)
async def test_a_request_that_its_replicas_had_no_memory_for_is_told_the_figures(
    inference: Inference, lack: Lack, end: str
) -> None:
    without = Death("killed", lack, held_bytes=90 * MIB, limit_bytes=GIB)
    with pytest.raises(InputTooLarge) as raised:
        await inference.run(ScriptedLink(DIES), ScriptedLink(DIES, death=without))
    assert raised.value.message.endswith(f"its replica holds 90 MB, may hold {end}")
    assert raised.value.data == {"out_of_memory": True, "cause": lack, "held_bytes": 90 * MIB, "limit_bytes": GIB}
    assert inference.route.load().in_flight == 0


async def test_a_replica_that_lacked_memory_with_others_beside_it_is_followed_by_another(inference: Inference) -> None:
    dying = ScriptedLink(DIES, death=Death("killed", "limit"))
    assert (await inference.run(dying, ScriptedLink(ANSWER))).output == "done"


async def test_a_replica_whose_node_is_lost_is_no_death(inference: Inference) -> None:
    lost = Death("node first is lost", host_died=True)
    links = [ScriptedLink(DIES, death=lost), ScriptedLink(DIES, death=lost), ScriptedLink(ANSWER)]
    assert (await inference.run(*links)).output == "done"


async def test_replicas_whose_nodes_are_lost_are_not_tried_for_ever(inference: Inference) -> None:
    links = [ScriptedLink(DIES, death=Death("lost", host_died=True)) for _ in range(MAX_TRIES + 1)]
    with pytest.raises(ReplicaLost, match="4 replicas ended before they answered"):
        await inference.run(*links)
    assert [len(link.requests) for link in links] == [1, 1, 1, 1, 0]


async def test_a_replica_that_was_gone_before_it_had_the_request_is_no_death(inference: Inference) -> None:
    gone, dying = ScriptedLink(gone=True), ScriptedLink(DIES)
    assert (await inference.run(gone, dying, gone, ScriptedLink(ANSWER))).output == "done"
    assert inference.tried == ["in_1", "in_2", "in_3", "in_4"]


async def test_however_many_replicas_are_gone_the_request_is_sent_to_one_that_is_there(inference: Inference) -> None:
    links = [ScriptedLink(gone=True) for _ in range(2 * MAX_TRIES)]
    assert (await inference.run(*links, ScriptedLink(ANSWER))).output == "done"
    assert len(inference.tried) == len(links) + 1


async def test_replicas_that_are_gone_are_not_tried_for_ever(inference: Inference) -> None:
    with pytest.raises(DeadlineExceeded):
        await inference.run(*(ScriptedLink(gone=True) for _ in range(2 * MAX_TRIES)), queue_wait_s=0.05)
    assert len(inference.tried) == 2 * MAX_TRIES


async def test_a_replica_that_cannot_be_reached_from_here_alone_is_tried_until_the_time_is_over(
    inference: Inference,
) -> None:
    routes, gone = inference.gateway.control.routes, ScriptedLink(gone=True)

    async def publish_again() -> None:
        """As the control loop does, for which its link is whole."""
        while True:
            routes.publish(inference.route.cluster_id, {"in_1": (gone, 1)})
            await asyncio.sleep(0)

    publishing = asyncio.create_task(publish_again())
    try:
        with pytest.raises(ReplicaLost, match=r"No replica could be reached within 0\.35 s") as raised:
            await inference.run(gone, queue_wait_s=0.35)
    finally:
        publishing.cancel()
    assert raised.value.data["cause"] == "tries"
    assert 2 <= len(inference.tried) <= 6, "once at once, then every tenth of a second"
    assert inference.route.load() == Load()


async def test_what_a_replica_died_with_is_tried_again_alone(inference: Inference) -> None:
    dying, second = ScriptedLink(), ScriptedLink()
    publish = inference.gateway.control.routes.publish
    suspects = [asyncio.create_task(inference.run(dying, slots=4)) for _ in range(2)]
    await eventually(lambda: len(dying.requests) == 2)
    publish(inference.route.cluster_id, {"in_2": (second, 4)})
    for exchange in dying.exchanges:
        exchange.feed(DIES)
    await eventually(lambda: len(second.requests) == 1)
    newcomer = asyncio.create_task(inference.run(slots=4))
    await turns(20)
    assert len(second.requests) == 1, "the other suspect and the newcomer wait"
    for count in (1, 2, 3):
        await eventually(lambda count=count: len(second.requests) == count)  # type: ignore[misc]
        second.exchanges[-1].feed(frame(count, ANSWER))
    assert [(await task).output for task in (*suspects, newcomer)] == ["done"] * 3
    assert inference.route.load() == Load()


async def test_who_kills_its_second_replica_harms_no_neighbour(inference: Inference) -> None:
    """Three in one batch: each is tried alone, and the guilty one ends alone."""
    links = [ScriptedLink() for _ in range(3)]
    publish = inference.gateway.control.routes.publish
    tasks = [asyncio.create_task(inference.run(links[0], slots=4)) for _ in range(3)]
    await eventually(lambda: len(links[0].requests) == 3)
    publish(inference.route.cluster_id, {"in_2": (links[1], 4)})
    for exchange in links[0].exchanges:
        exchange.feed(DIES)
    await eventually(lambda: len(links[1].requests) == 1)
    publish(inference.route.cluster_id, {"in_3": (links[2], 4)})
    links[1].exchanges[0].feed(DIES)
    for count in (1, 2):
        await eventually(lambda count=count: len(links[2].requests) == count)  # type: ignore[misc]
        links[2].exchanges[-1].feed(frame(count, ANSWER))
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Outcome", "Outcome", "ReplicaLost"]
    assert inference.route.load() == Load()


async def test_a_replica_that_is_ended_for_anothers_sake_is_no_death_of_its_neighbours(inference: Inference) -> None:
    """One is cancelled and its replica is deaf to that: who shares it with that one is not suspected of anything."""
    stuck, healthy = ScriptedLink(deaf=True), ScriptedLink()
    leaver = asyncio.create_task(inference.run(stuck, slots=4, cancel_grace_s=0.0))
    await stuck.asked.wait()
    neighbours = [asyncio.create_task(inference.run(stuck, slots=4)) for _ in range(2)]
    await eventually(lambda: len(stuck.requests) == 3)
    leaver.cancel()
    await eventually(lambda: inference.route.targets["in_1"].was_ended)
    inference.gateway.control.routes.publish(inference.route.cluster_id, {"in_2": (healthy, 4)})
    for exchange in stuck.exchanges:
        exchange.feed(DIES)
    await eventually(lambda: len(healthy.requests) == 2)  # beside each other
    for exchange in healthy.exchanges:
        exchange.feed(frame(exchange.id, ANSWER))
    assert [(await task).output for task in neighbours] == ["done"] * 2
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_a_replica_that_died_gets_no_other_request(inference: Inference) -> None:
    await inference.run(ScriptedLink(DIES), ScriptedLink(ANSWER))
    assert list(inference.route.targets) == ["in_2"]


async def test_with_no_replica_left_the_request_waits_for_one_as_long_as_it_may(inference: Inference) -> None:
    with pytest.raises(DeadlineExceeded):
        await inference.run(ScriptedLink(DIES), queue_wait_s=0.05)
    assert inference.route.load().queued == 0


async def test_a_place_is_given_back_once_and_says_whether_one_waits(inference: Inference) -> None:
    routes, route = inference.gateway.control.routes, inference.route
    routes.publish(route.cluster_id, {"in_1": (ScriptedLink(), 1)})
    slot = Slot(routes, route, await routes.acquire(route, 100.0))
    waiting = asyncio.create_task(routes.acquire(route, 100.0))
    await turns(2)
    assert slot.give_back()
    assert not slot.give_back()
    target = await waiting
    assert target.in_flight == 1
    assert not Slot(routes, route, target).give_back()
    assert route.load() == Load(0, 0)
