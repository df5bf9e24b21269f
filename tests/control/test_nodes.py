"""Many nodes, some with devices: replicas spread, each node's memory holds, and a node may come, drain or die."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import pytest

from modelyard.catalog.memory import plan_device_bytes
from modelyard.control.holdings import BACK_S
from modelyard.control.placement import Placed, Wait
from modelyard.control.states import HOLDS_MEMORY
from modelyard.control.states import ClusterStatus as Word
from modelyard.control.states import ReplicaState as State
from modelyard.engine.base import Device, Need, Node, Phase, Place
from modelyard.errors import NoCapacity, UnknownNode
from modelyard.records.accounts import Quota
from modelyard.records.models import Measurement
from modelyard.units import GIB, gigabytes
from modelyard.worker.memory import DEVICE_CONTEXT_BYTES
from tests.clock import START
from tests.control.control_plane import BIG, SMALL, SMALL_BYTES, THIRD, TWIN, ControlPlane, MakeControl
from tests.control.test_room import shuffle

ONE, TWO, THREE = SMALL_BYTES, 2 * SMALL_BYTES, 3 * SMALL_BYTES


def nodes(*sizes: int) -> list[Node]:
    """Nodes a, b, c, ..."""
    return [Node("abcdef"[number], size) for number, size in enumerate(sizes)]


def gpu(name: str, *device_sizes: int) -> Node:
    """A node with room for four small models and these devices."""
    devices = tuple(Device(f"cuda:{number}", size) for number, size in enumerate(device_sizes))
    return Node(name, 4 * ONE, devices)


def on_device(device_bytes: int) -> Measurement:
    """A model that needs so much of a device, and of its node what a small one does."""
    return Measurement(ONE, device_bytes=device_bytes)


# --- where replicas go ---


async def test_the_replicas_of_a_cluster_are_on_nodes_of_their_own(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(THREE, THREE, THREE)) as control:
        managed = await control.up(desired=4, max=4)
        assert [len(places) for places in (control.places(managed), set(control.places(managed)))] == [4, 3]
        assert {life.node for life in await control.ledger()} == {"a", "b", "c"}
        started = [line for line in await control.events() if " starts" in line]
        assert sum(" starts on b, " in line for line in started) in (1, 2)


async def test_models_go_where_most_memory_is_free_and_pass_over_a_full_node(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, THREE, TWO)) as control:
        clusters = [await control.up(model_id, min=1) for model_id in (SMALL, TWIN, THIRD)]
        assert [control.places(each) for each in clusters] == [["b"], ["b"], ["c"]]
        more = [await control.up(model_id, control.other_account, min=1) for model_id in (SMALL, TWIN, THIRD)]
        assert sorted(place for each in more for place in control.places(each)) == ["a", "b", "c"]


async def test_a_model_comes_back_to_the_node_that_has_its_files(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(THREE, THREE)) as control:
        first = await control.up(SMALL, timeout=10)
        assert control.places(first) == ["a"]
        control.step(after_s=11)
        await control.settle()
        assert first.replicas == {}
        await control.up(TWIN, min=1)
        assert control.places(control.clusters.get(control.account, TWIN)) == ["a"], "it has as much free as the other"
        await (await control.ask(SMALL)).done()
        assert control.places(first) == ["a"]


# --- waiting and making room ---


async def test_who_waits_is_told_on_which_node(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, ONE + 1000)) as control:
        for model_id in (SMALL, TWIN):
            await control.up(model_id, min=1)
        waiting = await control.put(THIRD)
        control.step()
        assert control.report(waiting).status is Word.QUEUED
        assert "waiting for 92 MB on b, 0 MB free; busy: tiny/small" in await control.events(THIRD)
        await control.patch(TWIN, min=0, desired=0, status="off")
        await control.until(lambda: control.ready(waiting))
        assert control.places(waiting) == ["a"]


async def test_the_longest_idle_of_all_nodes_leaves_and_only_on_one_of_them(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, ONE, ONE)) as control:
        clusters = []
        for model_id in (SMALL, TWIN, THIRD):
            clusters.append(await control.up(model_id, timeout=10_000))
            control.step(after_s=50)
        other = await control.up(SMALL, control.other_account)
        assert [len(each.replicas) for each in clusters] == [0, 1, 1]
        assert control.places(other) == ["a"]
        assert len(control.engine.stopped) == 1


async def test_room_that_is_being_made_on_one_node_is_waited_for_there(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, ONE)) as control:
        await control.up(SMALL, timeout=10_000)
        control.step(after_s=50)
        await control.up(TWIN, timeout=10_000)
        control.engine.hold_stops = True
        newcomer = await control.put(THIRD)
        for _ in range(10):
            control.step(after_s=0.1)
        leaving = [r for s in control.desired.all() for r in s.replicas.values() if r.state == "draining"]
        assert [replica.place for replica in leaving] == [Place("a")]
        control.engine.die(leaving[0].id)
        await control.until(lambda: control.ready(newcomer))
        assert control.places(newcomer) == ["a"]


async def test_a_model_larger_than_every_node_is_told_so(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, ONE + 5 * 1024**2, ONE)) as control:
        waiting = await control.ask(BIG)
        with pytest.raises(NoCapacity, match=r"tiny/big needs .*, but replicas on the largest node, b, may use 97 MB"):
            await waiting.served()
        await control.up(SMALL)


async def test_an_accounts_quota_counts_over_all_nodes(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(THREE, THREE)) as control:
        control.quotas[control.account] = Quota(memory_bytes=ONE)
        first = await control.up(SMALL)
        assert control.places(first) == ["a"]
        await control.up(TWIN)
        assert first.replicas == {}, "the other node has room, the account has none"


async def test_memory_for_other_work_is_held_on_one_node(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, TWO)) as control:
        assert await control.plane.largest_memory_bytes() == TWO
        assert await control.plane.reserve_memory("an export", TWO) == Placed(Place("b"), Need(TWO))
        assert isinstance(await control.plane.reserve_memory("another", TWO), Wait)
        assert control.places(await control.up(SMALL, min=1)) == ["a"]
        second = await control.put(TWIN)
        await control.settle()
        assert control.states(second) == ["queued"]
        await control.plane.release_memory("an export")
        await control.until(lambda: control.ready(second))
        assert control.places(second) == ["b"]


# --- devices ---


async def test_a_model_for_a_device_gets_one_with_room_and_others_leave_devices_alone(
    make_control: MakeControl,
) -> None:
    measured = {SMALL: on_device(6 * GIB), TWIN: on_device(20 * GIB), THIRD: Measurement(ONE)}
    async with make_control(nodes=[gpu("gpu", 8 * GIB, 24 * GIB), Node("plain", ONE)], measured=measured) as control:
        small, twin, third = [await control.up(model_id) for model_id in (SMALL, TWIN, THIRD)]
        assert control.places(small) == ["gpu cuda:0"], "a large model still finds room on the larger one"
        assert control.places(twin) == ["gpu cuda:1"]
        assert control.places(third) == ["plain"]
        replica = control.only(small)
        assert (replica.reserved_bytes, replica.reserved_device_bytes) == (ONE, 6 * GIB)
        assert f"{replica.id} starts on gpu, 92 MB and 6.0 GB on cuda:0 reserved" in await control.events()
        assert control.engine.sightings()[replica.id].place == Place("gpu", ("cuda:0",))


async def test_a_full_device_is_waited_for_or_emptied_and_other_devices_are_left_alone(
    make_control: MakeControl,
) -> None:
    measured = {name: on_device(6 * GIB) for name in (SMALL, TWIN, THIRD)}
    async with make_control(nodes=[gpu("gpu", 8 * GIB, 8 * GIB)], measured=measured) as control:
        first = await control.up(SMALL, min=1)
        second = await control.up(TWIN, timeout=10_000)
        busy = await control.ask(TWIN)
        third = await control.put(THIRD)
        control.step(after_s=50)
        assert "waiting for 6.0 GB on cuda:0, 2.0 GB free; busy: tiny/small" in await control.events(THIRD)
        busy.answer()
        control.step(after_s=50)
        await control.until(lambda: control.ready(third))
        assert [control.places(each) for each in (first, second, third)] == [["gpu cuda:0"], [], ["gpu cuda:1"]]


async def test_a_model_larger_than_every_device_is_told_so(make_control: MakeControl) -> None:
    planes = [gpu("a", 8 * GIB), gpu("b", 16 * GIB)]
    async with make_control(nodes=planes, measured={SMALL: on_device(40 * GIB)}) as control:
        waiting = await control.ask(SMALL)
        with pytest.raises(NoCapacity, match=r"needs 40\.0 GB on an accelerator, but .* cuda:0 of b may use 16\.0 GB"):
            await waiting.served()


async def test_without_any_device_a_model_measured_on_one_needs_that_memory_of_its_node(
    make_control: MakeControl,
) -> None:
    async with make_control(nodes=nodes(ONE, THREE), measured={SMALL: on_device(ONE)}) as control:
        managed = await control.up()
        assert control.places(managed) == ["b"]
        assert (control.only(managed).reserved_bytes, control.only(managed).reserved_device_bytes) == (TWO, 0)


async def test_a_quota_of_memory_counts_devices_too(make_control: MakeControl) -> None:
    async with make_control(nodes=[gpu("gpu", 24 * GIB)], measured={SMALL: on_device(6 * GIB)}) as control:
        control.quotas[control.account] = Quota(memory_bytes=6 * GIB)
        waiting = await control.ask(SMALL)
        needs = gigabytes(6 * GIB + ONE)
        with pytest.raises(NoCapacity, match=rf"needs {needs}, but your account may hold 6\.0 GB"):
            await waiting.served()


async def test_what_nobody_has_measured_is_planned_for_a_device_and_for_none_where_it_would_not_fit(
    make_control: MakeControl,
) -> None:
    for size, places in ((GIB, ["gpu cuda:0"]), (GIB // 2, ["gpu"])):
        async with make_control(nodes=[gpu("gpu", size)]) as control:
            managed = await control.up()
            assert control.places(managed) == places
            card = await control.catalog.get(SMALL)
            planned = plan_device_bytes(card.inspection) if size == GIB else 0
            assert control.only(managed).reserved_device_bytes == planned
            assert control.engine.spec(control.only(managed).id).need_device_bytes == planned


async def test_a_model_larger_than_one_device_is_laid_on_as_few_as_hold_it(make_control: MakeControl) -> None:
    measured = {SMALL: on_device(20 * GIB), TWIN: on_device(6 * GIB)}
    async with make_control(nodes=[gpu("gpu", 12 * GIB, 16 * GIB, 12 * GIB)], measured=measured) as control:
        assert control.places(await control.up(TWIN, min=1)) == ["gpu cuda:0"]
        managed = await control.up(SMALL, min=1)
        assert control.places(managed) == ["gpu cuda:1 cuda:2"]
        devices = (await control.plane.figures()).nodes["gpu"].devices
        share_bytes = Need(0, 20 * GIB).share_bytes(2)
        assert [each.reserved for each in devices.values()] == [6 * GIB, share_bytes, share_bytes]
        assert share_bytes == 10 * GIB + DEVICE_CONTEXT_BYTES // 2
        words = f"{control.only(managed).id} starts, 92 MB and 10.2 GB on each of cuda:1, cuda:2 reserved"
        assert words in await control.events()


async def test_a_model_larger_than_all_devices_together_is_refused_with_the_arithmetic(
    make_control: MakeControl,
) -> None:
    planes = [gpu("a", 8 * GIB), gpu("b", 8 * GIB, 8 * GIB)]
    async with make_control(nodes=planes, measured={SMALL: on_device(40 * GIB)}) as control:
        waiting = await control.ask(SMALL)
        words = r"needs 20\.2 GB on each of 2 accelerators, but replicas on cuda:0 of b may use 8\.0 GB in all"
        with pytest.raises(NoCapacity, match=words):
            await waiting.served()


async def test_what_replicas_were_seen_to_hold_of_a_device_is_reserved_for_those_that_follow(
    make_control: MakeControl,
) -> None:
    async with make_control(nodes=[gpu("gpu", 16 * GIB)], measured={SMALL: on_device(2 * GIB)}) as control:
        control.engine.replica_device_bytes = 3 * GIB
        managed = await control.up(desired=2, max=2)
        assert [each.reserved_device_bytes for each in managed.replicas.values()] == [3 * GIB] * 2
        assert [spec.need_device_bytes for spec in control.engine.launched] == [2 * GIB, 3 * GIB]


async def test_one_model_at_a_time_is_loaded_on_a_device_and_another_device_is_taken_first(
    make_control: MakeControl,
) -> None:
    measured = {name: on_device(2 * GIB) for name in (SMALL, TWIN, THIRD)}
    async with make_control(nodes=[gpu("gpu", 8 * GIB, 8 * GIB)], measured=measured) as control:
        control.engine.hold_loads = True
        clusters = [await control.put(name) for name in (SMALL, TWIN, THIRD)]
        await control.until(lambda: control.states(clusters[1]) == ["loading"])
        assert [control.places(each) for each in clusters] == [["gpu cuda:0"], ["gpu cuda:1"], []]
        assert "waiting for cuda:0, where tiny/small is loaded first" in await control.events(THIRD)
        control.engine.hold_loads = False
        control.engine.release(control.only(clusters[1]).id)
        await control.until(lambda: control.ready(clusters[2]))
        assert control.places(clusters[2]) == ["gpu cuda:1"]
        assert control.states(clusters[0]) == ["loading"]


async def test_nobody_is_evicted_for_what_fits_where_another_model_is_being_loaded(make_control: MakeControl) -> None:
    measured = {SMALL: on_device(6 * GIB), TWIN: on_device(2 * GIB), THIRD: on_device(3 * GIB)}
    async with make_control(nodes=[gpu("gpu", 8 * GIB, 6 * GIB)], measured=measured) as control:
        idle = await control.up(SMALL, timeout=10_000)
        assert control.places(idle) == ["gpu cuda:1"]
        control.engine.hold_loads = True
        loading = await control.put(TWIN)
        await control.until(lambda: control.states(loading) == ["loading"])
        waiting = await control.put(THIRD)
        control.step(after_s=50)
        assert (control.states(waiting), control.states(idle)) == (["queued"], ["ready"])
        control.engine.hold_loads = False
        control.engine.release()
        await control.until(lambda: control.ready(waiting))
        assert (control.places(waiting), control.states(idle)) == (["gpu cuda:0"], ["ready"])


async def test_what_is_on_a_device_that_is_taken_out_moves_to_another_one(make_control: MakeControl) -> None:
    measured = {SMALL: on_device(6 * GIB), TWIN: on_device(6 * GIB)}
    async with make_control(nodes=[gpu("gpu", 8 * GIB, 8 * GIB)], measured=measured) as control:
        managed = await control.up(min=1)
        (old,) = managed.replicas.values()
        assert old.place == Place("gpu", ("cuda:0",))
        control.engine.hold_loads = True
        await control.plane.take_launches("gpu", accepting=False, device="cuda:0")
        await control.until(lambda: len(managed.replicas) == 2)
        control.step(after_s=60)
        assert old.state is State.READY, "the other one is not ready yet"
        control.engine.hold_loads = False
        control.engine.release()
        await control.until(lambda: list(managed.replicas) != [old.id] and len(managed.replicas) == 1)
        assert control.places(managed) == ["gpu cuda:1"]
        assert any("its device cuda:0 is emptied" in line for line in await control.events())
        devices = (await control.plane.figures()).nodes["gpu"].devices
        assert [(each.accepting, each.replicas) for each in devices.values()] == [(False, 0), (True, 1)]

        twin = await control.put(TWIN)
        control.step(after_s=50)
        assert control.states(twin) == ["queued"], "there is room on the device that was taken out only"
        await control.plane.take_launches("gpu", accepting=True, device="cuda:0")
        await control.until(lambda: control.ready(twin))
        with pytest.raises(UnknownNode, match="gpu has no device cuda:2; it has: cuda:0, cuda:1"):
            await control.plane.take_launches("gpu", accepting=False, device="cuda:2")


# --- nodes that come and go ---


async def test_the_replicas_of_a_node_that_dies_come_back_elsewhere_and_no_model_is_blamed(
    make_control: MakeControl,
) -> None:
    a, b = nodes(8 * ONE, 8 * ONE)
    async with make_control(nodes=[a]) as control:
        managed = await control.up(desired=7, max=7)
        assert set(control.places(managed)) == {"a"}
        waiting = await control.ask()
        control.engine.have_nodes(b)
        waiting.answer()
        await control.until(lambda: len(control.ready(managed)) == 7 and set(control.places(managed)) == {"b"})
        assert (managed.failure, managed.failures.deaths) == (None, [])
        ended = [life.end_reason for life in await control.ledger() if life.ended_at is not None]
        assert ended == ["there is no node a"] * 7


async def test_what_fits_on_no_other_node_waits_for_one_that_was_lost_a_moment_ago(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, THREE)) as control:
        managed = await control.up(BIG)
        small, _ = control.engine.nodes()
        control.engine.have_nodes(small)
        await control.until(lambda: not managed.route.targets)
        request = await control.ask(BIG)
        await control.settle()
        assert request.waits
        assert "waiting for node b, which was lost a moment ago" in await control.events(BIG)
        control.engine.have_nodes(*nodes(ONE, THREE))
        await request.done()
        control.engine.have_nodes(small)
        await control.until(lambda: not managed.route.targets)
        late = await control.ask(BIG)
        control.step(after_s=BACK_S)
        with pytest.raises(NoCapacity, match="needs 130 MB, but replicas on this machine may use 92 MB"):
            await late.served()


async def test_what_needs_a_device_waits_for_the_node_that_had_the_only_one(make_control: MakeControl) -> None:
    machines = gpu("a"), gpu("b", 8 * ONE)
    async with make_control(nodes=machines, measured={SMALL: on_device(5 * ONE)}) as control:
        managed = await control.up(SMALL)
        control.engine.have_nodes(gpu("a"))
        await control.until(lambda: not managed.route.targets)
        request = await control.ask(SMALL)
        await control.settle()
        assert request.waits
        control.engine.have_nodes(*machines)
        await request.done()
        assert control.places(managed) == ["b cuda:0"]


async def test_a_life_ends_where_its_node_gave_the_last_sign_of_life(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up()
        control.step(after_s=100)
        (replica_id,) = managed.replicas
        control.engine.die(replica_id, "node a has given no sign of life", host_died=True, silent_s=2.5)
        await control.until(lambda: replica_id not in managed.replicas)
        (life,) = (each for each in await control.ledger() if each.id == replica_id)
        assert life.ended_at == START + timedelta(seconds=97.5)


async def test_a_node_that_joins_is_used_at_once(make_control: MakeControl) -> None:
    a, b = nodes(ONE, ONE)
    async with make_control(nodes=[a]) as control:
        await control.up(SMALL, min=1)
        waiting = await control.ask(TWIN)
        await control.settle()
        assert waiting.waits
        control.engine.have_nodes(a, b)
        await waiting.done()
        assert control.places(waiting.managed) == ["b"]


async def test_a_node_that_does_not_accept_keeps_what_it_has_and_gets_no_more(make_control: MakeControl) -> None:
    a, b = nodes(THREE, ONE)
    async with make_control(nodes=[a, b]) as control:
        first = await control.up(SMALL, min=1)
        control.engine.have_nodes(Node("a", THREE, accepting=False), b)
        second = await control.up(TWIN, min=1)
        third = await control.put(THIRD)
        await control.settle()
        assert [control.places(each) for each in (first, second, third)] == [["a"], ["b"], []]
        control.engine.have_nodes(Node("a", THREE, accepting=False))
        control.step()
        assert "waiting for a node that takes new replicas" in await control.events(THIRD)
        assert control.engine.sightings()[control.only(first).id].phase is Phase.READY


# --- whatever happens ---


def taken(control: ControlPlane) -> tuple[Counter[str], Counter[Place]]:
    """What is reserved by node, and by device."""
    by_node: Counter[str] = Counter()
    by_device: Counter[Place] = Counter()
    for managed in control.desired.all():
        for replica in managed.replicas.values():
            if replica.state in HOLDS_MEMORY:
                assert replica.place is not None
                by_node[replica.place.node] += replica.reserved_bytes
                for name in replica.place.devices:
                    share_bytes = Need(0, replica.reserved_device_bytes).share_bytes(len(replica.place.devices))
                    by_device[Place(replica.place.node, (name,))] += share_bytes
    return by_node, by_device


def check_sums(control: ControlPlane) -> None:
    """What is kept from turn to turn is what the replicas come to."""
    holdings, by_node, instances, booting = control.reconciler._holdings, taken(control)[0], 0, 0
    for managed in control.desired.all():
        assert managed.cluster.account_id == control.account
        for replica in managed.replicas.values():
            instances += replica.place is not None
            booting += replica.place is not None and not replica.was_ready
    assert holdings.of_account(control.account)[1] == instances
    assert (holdings.booting, holdings.booting_of(control.account)) == (booting, booting)
    assert {name: used for name, used in holdings._used.items() if used} == {k: v for k, v in by_node.items() if v}


async def test_whatever_happens_no_node_and_no_device_is_overcommitted(make_control: MakeControl) -> None:
    dice = random.Random(5)
    cluster = [Node("a", TWO), gpu("b", 8 * GIB), gpu("c", 8 * GIB, 12 * GIB)]
    measured = {SMALL: on_device(5 * GIB), TWIN: on_device(3 * GIB), THIRD: Measurement(ONE)}
    async with make_control(nodes=cluster, measured=measured) as control:
        for turn in range(250):
            if turn % 25 == 24:
                control.engine.have_nodes(*dice.sample(cluster, dice.choice([1, 2, 3, 3])))
            await shuffle(control, dice)
            control.step(after_s=0.1)
            by_node, by_device = taken(control)
            for node in cluster:
                assert by_node[node.name] <= node.memory_bytes
                for device in node.devices:
                    assert by_device[Place(node.name, (device.name,))] <= device.memory_bytes
            check_sums(control)
        assert len({life.node for life in await control.ledger()}) == 3
        assert len(control.engine.launched) > 30


# --- a node that is emptied ---


async def test_replicas_leave_a_node_that_is_emptied_once_others_are_ready(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(THREE, TWO)) as control:
        managed = await control.up(min=1)
        (old,) = managed.replicas.values()
        assert old.place == Place("a")
        control.engine.hold_loads = True
        await control.plane.take_launches("a", accepting=False)
        await control.until(lambda: len(managed.replicas) == 2)
        control.step(after_s=60)
        assert old.state is State.READY, "the other one is not ready yet"
        assert control.report(managed).status is Word.RUNNING

        control.engine.hold_loads = False
        control.engine.release()
        await control.until(lambda: list(managed.replicas) != [old.id] and len(managed.replicas) == 1)

        assert control.places(managed) == ["b"]
        assert any("its node is emptied" in line for line in await control.events())
        figures = (await control.plane.figures()).nodes["a"]
        assert (figures.accepting, figures.replicas) == (False, 0)


async def test_only_what_a_node_runs_is_looked_at_when_it_is_emptied(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, ONE)) as control:
        managed = [await control.up(SMALL, min=1), await control.up(TWIN, min=1)]
        await control.settle()
        control.step()
        for accepting in (False, True):
            await control.plane.take_launches("a", accepting=accepting)
            control.reconciler._note_emptied()
            there = [each.cluster.id for each in managed if control.places(each) == ["a"]]
            assert control.work.take(control.clock.monotonic(), most=9) == there
            assert len(there) == 1


async def test_what_fits_nowhere_else_stays_on_a_node_that_is_emptied(make_control: MakeControl) -> None:
    async with make_control(nodes=nodes(ONE, ONE // 2)) as control:
        managed = await control.up(min=1)
        await control.plane.take_launches("a", accepting=False)
        control.step(after_s=60)
        await control.settle()
        assert control.places(managed) == ["a"]
        assert control.ready(managed)
        with pytest.raises(UnknownNode):
            await control.plane.take_launches("none", accepting=False)
