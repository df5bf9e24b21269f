"""Several servers on one PostgreSQL, on machines whose replicas outlive each of them: one leads, another goes on."""

from __future__ import annotations

import pytest

from modelyard.control.adoption import TOLD_S
from modelyard.control.states import ReplicaState
from modelyard.errors import LeaseLost
from tests.control.control_plane import LEASE_TIMES, SMALL, TUNED, TWIN
from tests.control.several_servers import Servers, end_lease


async def test_the_next_leader_goes_on_with_what_lives(servers: Servers) -> None:
    first = await servers.open()
    ready = await first.up(SMALL, desired=2, max=2)
    servers.machines.hold_loads = True
    loading = await first.put(TWIN)
    await first.until(lambda: ReplicaState.LOADING in loading.states())
    lives = await first.ledger()
    end_lease(first)
    await first.drop()
    servers.clock.advance(3)

    second = await servers.open()

    assert servers.launched() == {life.id for life in lives}
    managed = second.clusters.get(second.account, SMALL)
    assert set(managed.replicas) == set(ready.replicas)
    assert set(managed.route.targets) == set(ready.replicas), "requests find them before the loop has turned"
    request = await second.ask(SMALL)
    await request.done()
    servers.machines.release()
    twin = second.clusters.get(second.account, TWIN)
    await second.until(lambda: twin.route.targets)
    await second.settle()
    assert servers.launched() == {life.id for life in lives}
    after = await second.ledger()
    assert [life.id for life in after] == [life.id for life in lives]
    assert {life.server_id for life in after} == {"srv_2"}
    for before, life in zip(lives, after, strict=True):
        assert (life.created_at, life.started_at) == (before.created_at, before.started_at)
        assert before.ready_at in (None, life.ready_at)
        assert before.heartbeat_at < life.heartbeat_at
        assert (life.ended_at, life.ready_at is None) == (None, False)
    assert any("goes on" in line for line in await second.events(SMALL))


async def test_the_bill_has_no_gap_and_no_second_line(servers: Servers) -> None:
    first = await servers.open()
    await first.up(SMALL)
    (replica_id,) = servers.alive()
    servers.clock.advance(61)
    await first.journal.flush()
    end_lease(first)
    await first.drop()
    second = await servers.open()
    servers.clock.advance(61)
    await second.patch(SMALL, desired=0, min=0)
    await second.until(lambda: not servers.alive())
    await second.settle()

    (life,) = await second.ledger()

    assert life.id == replica_id
    assert life.ended_at is not None
    assert life.ready_at is not None
    assert (life.ended_at - life.ready_at).total_seconds() == pytest.approx(122, abs=1)


async def test_what_has_ended_meanwhile_ends_at_its_last_heartbeat_and_is_launched_anew(servers: Servers) -> None:
    first = await servers.open()
    await first.up(SMALL)
    (replica_id,) = servers.alive()
    first.step(after_s=11)
    await first.settle()
    (before,) = await first.ledger()
    end_lease(first)
    await first.drop()
    servers.clock.advance(5)
    servers.machines.die(replica_id)

    second = await servers.open()

    await second.until(lambda: servers.alive())
    await second.settle()
    old, new = await second.ledger()
    assert (old.id, old.ended_at) == (replica_id, before.heartbeat_at)
    assert old.end_reason == "it ended while no server led"
    assert new.ended_at is None


async def test_what_nobody_wants_any_more_ends(servers: Servers) -> None:
    first = await servers.open()
    small = await first.up(SMALL)
    await first.up(TWIN)
    (twin_id,) = servers.alive() - set(small.replicas)
    await first.journal.flush()
    first.store.clusters.delete(small.cluster.id)  # by another process, in the moment of its death
    end_lease(first)
    await first.drop()

    second = await servers.open()

    await second.until(lambda: set(second.engine.sightings()) == {twin_id})  # what ended is noted, and forgotten
    assert servers.alive() == {twin_id}
    await second.settle()
    ended, open_ = sorted(await second.ledger(), key=lambda life: life.ended_at is None)
    assert (ended.id, open_.id) == (*small.replicas, twin_id)
    assert ended.end_reason == "nobody wanted it when another server came to lead"
    assert open_.ended_at is None


async def test_a_replica_that_the_ledger_does_not_know_ends(servers: Servers) -> None:
    first = await servers.open()
    managed = await first.put(SMALL)
    first.journal._task.cancel()  # what it writes from now on is lost, as in the moment of its death
    await first.until(lambda: managed.route.targets)
    (unknown,) = servers.alive()
    end_lease(first)
    await first.drop()

    second = await servers.open()

    again = second.clusters.get(second.account, SMALL)
    await second.until(lambda: again.route.targets)
    await second.settle()
    assert servers.alive() == set(again.replicas)
    assert unknown not in servers.alive()
    assert [life.id for life in await second.ledger()] == list(again.replicas)


async def test_a_leader_that_wakes_up_writes_launches_and_stops_nothing(servers: Servers) -> None:
    first = await servers.open()
    await first.up(SMALL)
    end_lease(first)
    second = await servers.open()
    await second.settle()
    lives, events = await second.ledger(), await second.events()
    living, launched = servers.alive(), servers.launched()

    managed = first.clusters.get(first.account, SMALL)
    for replica in list(managed.replicas.values()):
        first.reconciler.end_stuck(managed, replica, "does not let go")
    await first.desired.read()
    first.step(after_s=20)
    await first.journal.flush()
    with pytest.raises(LeaseLost):
        await first.leadership.renew()
    assert not first.leadership.held
    first.step()
    await first.journal.flush()

    assert (servers.alive(), servers.launched()) == (living, launched)
    assert await second.events() == events
    assert await second.ledger() == lives


async def test_who_cannot_renew_its_lease_acts_no_more_until_it_can(servers: Servers) -> None:
    first = await servers.open()
    await first.up(SMALL)
    servers.clock.advance(LEASE_TIMES.lease_s)
    assert not first.leadership.held

    await first.patch(SMALL, desired=2, max=2)
    first.step()
    await first.journal.flush()

    assert len(servers.launched()) == 1
    request = await first.ask(SMALL)
    assert not request.waits, "what is ready serves"
    request.answer()
    await first.leadership.renew()
    await first.settle()
    assert len(servers.launched()) == 2


async def test_an_adapter_goes_on_in_the_replica_of_its_base(servers: Servers) -> None:
    first = await servers.open()
    await first.up(SMALL)
    await first.up(TUNED[0])
    await first.journal.flush()  # that both were ready is known to the ledger
    launched = servers.launched()
    end_lease(first)
    await first.drop()

    second = await servers.open()

    managed, base = (second.clusters.get(second.account, model_id) for model_id in (TUNED[0], SMALL))
    assert managed.base is base
    assert len(managed.route.targets) == len(base.route.targets) == 1
    await second.settle()
    assert servers.launched() == launched


async def test_a_server_that_is_stopped_leaves_what_runs_to_the_next_one(servers: Servers) -> None:
    first = await servers.open()
    await first.up(SMALL)
    living = servers.alive()
    await first.plane.close()
    await first.journal.flush()
    await first.leadership.release()
    assert servers.alive() == living
    (life,) = await first.ledger()
    assert life.ended_at is None

    second = await servers.open()

    assert set(second.clusters.get(second.account, SMALL).route.targets) == living
    assert servers.alive() == living


async def test_a_replica_is_not_drained_before_gateways_have_told_of_the_requests_on_it(servers: Servers) -> None:
    first = await servers.open()
    await first.up(SMALL)
    (replica_id,) = servers.alive()
    await first.journal.flush()
    end_lease(first)
    await first.drop()
    second = await servers.open()
    managed = second.clusters.get(second.account, SMALL)
    place = servers.machines.sightings()[replica_id].place
    await servers.machines.take_launches(place.node, False)
    await second.until(lambda: len(managed.route.targets) == 2)  # another one is ready in its place
    await second.settle()
    assert replica_id in managed.route.targets
    held = second.routes.hold(managed.route, replica_id)  # one is told of
    assert held is not None

    second.step(after_s=TOLD_S)
    await second.settle()

    assert second.states(managed) == ["draining", "ready"]
    second.routes.release(managed.route, held)
    await second.until(lambda: replica_id not in servers.alive())
