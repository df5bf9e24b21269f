"""Adapters in the replicas of their base: they come and go with it, and share it with nobody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelyard.control.bases import find_free
from modelyard.control.replicas import ManagedCluster
from modelyard.control.states import ClusterStatus as Word
from modelyard.engine.base import Device, Node, Phase
from modelyard.errors import BootFailed, NoCapacity, PaymentRequired
from modelyard.records.accounts import Quota
from modelyard.records.instances import Tariff
from modelyard.records.models import Measurement
from modelyard.units import GIB
from tests.catalog.models import write
from tests.catalog.test_adapters import adapter
from tests.control.control_plane import BIG, MIB, SMALL, SMALL_BYTES, TUNED, TUNED_BYTES, ControlPlane, MakeControl

FIRST, SECOND = TUNED


def processes(control: ControlPlane) -> list[str]:
    """The models of the processes that run, in order of their launches."""
    running = {each.replica_id for each in control.engine.sightings().values() if each.phase is not Phase.GONE}
    return [spec.model_id for spec in control.engine.launched if spec.beside is None and spec.replica_id in running]


def base_of(control: ControlPlane, managed: ManagedCluster) -> str:
    """The replica of its base in which the adapter's one replica runs."""
    beside = control.only(managed).beside
    assert beside is not None
    return beside


async def answer(control: ControlPlane, managed: ManagedCluster) -> Any:
    """What its replica says to a request."""
    target = await control.acquire(managed.route)
    outcome = await target.link.request({"text": "hello"}, {}, stream=False).run()
    control.routes.release(managed.route, target)
    return outcome.output


async def test_adapters_run_in_their_bases_replica(make_control: MakeControl) -> None:
    async with make_control() as control:
        base = await control.up(SMALL)
        first, second = [await control.up(model_id) for model_id in TUNED]
        assert processes(control) == [SMALL]
        assert base_of(control, first) == base_of(control, second) == control.only(base).id
        assert [await answer(control, each) for each in (base, first, second)] == [
            "hello",
            "hello by 0.0",
            "hello by 0.1",
        ]
        assert control.reserved_bytes() == control.only(base).reserved_bytes + 2 * TUNED_BYTES
        assert control.report(base).instances == 1
        assert control.report(first).status is Word.RUNNING


async def test_nobody_is_billed_for_an_adapter_beside_its_base(make_control: MakeControl) -> None:
    async with make_control(tariff=Tariff(1)) as control:
        await control.up(FIRST)
        bills = {each.model_id: each.tariff is not None for each in await control.ledger()}
        assert bills == {SMALL: True, FIRST: False}
        assert [each.memory_bytes for each in await control.ledger() if each.model_id == FIRST] == [0]


async def test_without_a_cluster_of_the_base_one_is_kept_for_as_long_as_adapters_need_it(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        first = await control.up(FIRST)
        second = await control.up(SECOND)
        assert processes(control) == [SMALL]
        assert [each.cluster.model_id for each in control.clusters.list(control.account)] == sorted(TUNED)
        assert {cluster.model_id for cluster in control.store.clusters.list()} == set(TUNED)
        await control.delete(FIRST)
        assert processes(control) == [SMALL]
        assert await answer(control, second) == "hello by 0.1"
        assert not first.replicas
        await control.delete(SECOND)
        await control.settle()
        assert processes(control) == []
        assert control.desired.all() == []


async def test_a_cluster_of_the_base_takes_over_what_adapters_run_in(make_control: MakeControl) -> None:
    async with make_control() as control:
        first = await control.up(FIRST)
        replica_id = base_of(control, first)
        held = await control.ask(FIRST)
        base = await control.up(SMALL)
        assert list(base.replicas) == [replica_id] == [base_of(control, first)]
        assert [spec.model_id for spec in control.engine.launched] == [SMALL, FIRST]
        assert await answer(control, base) == "hello"
        held.answer()
        await control.settle()
        assert len(control.desired.all()) == 2


@pytest.mark.parametrize("ends", ["deleted", "off", "max 0"])
async def test_a_base_that_its_account_ends_stays_for_its_adapters(ends: str, make_control: MakeControl) -> None:
    async with make_control() as control:
        base = await control.up(SMALL)
        first = await control.up(FIRST)
        held = await control.ask(FIRST)
        match ends:
            case "deleted":
                await control.delete(SMALL)
            case "off":
                await control.patch(SMALL, status="off")
            case _:
                await control.patch(SMALL, min=0, desired=0, max=0)
        await control.settle()
        assert not base.replicas
        assert not base.route.targets
        assert processes(control) == [SMALL]
        assert held.target is not None
        assert not held.target.link.closed
        held.answer()
        assert await answer(control, first) == "hello by 0.0"

        again = await control.up(SMALL, desired=1, max=1, **({"status": "on"} if ends == "off" else {}))

        assert [spec.model_id for spec in control.engine.launched] == [SMALL, FIRST]
        assert await answer(control, again) == "hello"


async def test_adapters_of_two_accounts_share_nothing(make_control: MakeControl) -> None:
    async with make_control() as control:
        own = await control.up(FIRST)
        others = await control.up(FIRST, control.other_account)
        assert processes(control) == [SMALL, SMALL]
        assert base_of(control, own) != base_of(control, others)


async def test_with_the_death_of_its_bases_replica_an_adapter_is_loaded_into_the_next(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        base = await control.up(SMALL)
        first = await control.up(FIRST)
        dead = control.only(base).id
        control.engine.die(dead, "killed by SIGSEGV")
        await control.until(lambda: dead not in base.replicas and first.route.targets)
        assert base_of(control, first) == control.only(base).id
        assert first.failures.deaths == []
        assert len(base.failures.deaths) == 1
        assert await answer(control, first) == "hello by 0.0"


async def test_a_base_stays_while_an_adapter_is_in_use_and_ends_with_it(make_control: MakeControl) -> None:
    async with make_control() as control:
        base = await control.up(SMALL, timeout=10)
        first = await control.up(FIRST, timeout=100)
        control.step(after_s=50)
        await control.settle()
        assert processes(control) == [SMALL]
        assert await answer(control, first) == "hello by 0.0"
        control.step(after_s=101)
        await control.settle()
        assert not first.replicas
        assert not base.replicas
        assert processes(control) == []
        words = await control.events(SMALL)
        assert sum("no request for 10 s" in each for each in words) == 1
        await (await control.ask(FIRST)).done()
        assert processes(control) == [SMALL]


async def test_a_base_that_drains_waits_for_what_its_adapters_have_in_flight(make_control: MakeControl) -> None:
    async with make_control() as control:
        base = await control.up(SMALL)
        first = await control.up(FIRST)
        held = await control.ask(FIRST)
        control.refusals[control.account] = PaymentRequired("there are no funds")
        control.step(after_s=2)
        await control.settle()
        assert control.states(first) == control.states(base) == ["draining"]
        assert held.target is not None
        assert not held.target.link.closed
        held.answer()
        await control.settle()
        assert not first.replicas
        assert not base.replicas
        assert processes(control) == []


async def test_an_adapter_counts_as_no_instance_but_its_memory_counts(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.quotas[control.account] = Quota(instances=1)
        await control.up(SMALL)
        await control.up(FIRST)
        control.quotas[control.account] = Quota(instances=1, memory_bytes=control.reserved_bytes() + TUNED_BYTES - 1)
        second = await control.put(SECOND)
        await control.settle()
        assert control.states(second) == ["queued"]
        assert "your account may hold" in (await control.events(SECOND))[-1]
        control.quotas[control.account] = Quota(instances=1, memory_bytes=control.reserved_bytes() + TUNED_BYTES)
        await control.until(lambda: second.route.targets)
        assert processes(control) == [SMALL]


async def test_a_base_and_its_idle_adapters_make_room_together(make_control: MakeControl) -> None:
    async with make_control(memory_bytes=SMALL_BYTES + 60 * MIB) as control:
        first = await control.up(FIRST)
        held = await control.ask(FIRST)
        big = await control.put(BIG)
        await control.settle()
        assert processes(control) == [SMALL]
        held.answer()
        control.step(after_s=5)
        await control.until(lambda: big.route.targets)
        assert processes(control) == [BIG]
        assert not first.replicas


async def test_what_a_worker_refuses_beside_its_base_gets_a_replica_of_its_own(
    make_control: MakeControl, models: Path
) -> None:
    files = adapter(SMALL, lora_alpha=8)
    write(models / "tiny" / "misfit", files)
    async with make_control() as control:
        misfit = await control.up("tiny/misfit")
        assert control.only(misfit).beside is None
        await control.settle()
        assert processes(control) == ["tiny/misfit"]
        (words,) = [each for each in await control.events("tiny/misfit") if "replicas of its own" in each]
        assert "made for another model" in words


async def test_a_base_on_several_devices_takes_no_adapter_beside_it(make_control: MakeControl) -> None:
    node = Node("gpu", 4 * SMALL_BYTES, (Device("cuda:0", 12 * GIB), Device("cuda:1", 12 * GIB)))
    measured = {SMALL: Measurement(SMALL_BYTES, device_bytes=20 * GIB)}
    async with make_control(nodes=[node], measured=measured) as control:
        await control.up(SMALL, min=1)
        waiting = await control.ask(FIRST)
        with pytest.raises(NoCapacity, match=r"tiny/tuned-1 needs 20\.0 GB on an accelerator"):
            await waiting.served()
        why = "it cannot run in those of its base: its base lies on several devices"
        assert f"{FIRST} gets replicas of its own, {why}" in await control.events(FIRST)


@pytest.mark.parametrize("setting", [{"use_dora": True}, {"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"new": 1}])
async def test_what_is_no_plain_lora_is_merged(
    setting: dict[str, Any], make_control: MakeControl, models: Path
) -> None:
    name = f"tiny/merged-{next(iter(setting))}".replace("_", "-")
    write(models / name, adapter(SMALL, lora_alpha=8, peft_version="1", **setting))
    async with make_control() as control:
        managed = await control.up(name)
        assert control.only(managed).beside is None
        assert processes(control) == [name]


async def test_an_adapter_is_told_that_its_base_does_not_start(make_control: MakeControl) -> None:
    async with make_control() as control:
        control.engine.refuse_next("no such file")
        managed = await control.put(FIRST)
        waiting = await control.ask(FIRST)
        await control.until(lambda: not waiting.waits)
        with pytest.raises(BootFailed, match=r"runs in a replica of its base: tiny/small did not start: no such file"):
            await waiting.served()
        control.step(after_s=control.policy.failure_kept_s + 31)
        assert (await control.ask(FIRST)).managed is managed
        await control.until(lambda: managed.route.targets)


async def test_an_adapter_with_two_replicas_has_two_of_its_base(make_control: MakeControl) -> None:
    async with make_control() as control:
        managed = await control.up(FIRST, desired=2, max=2)
        assert processes(control) == [SMALL, SMALL]
        assert len(set(managed.beside().values())) == 2
        assert managed.base is not None
        assert find_free(managed.base, managed) is None


async def test_the_next_server_loads_adapters_again(make_control: MakeControl) -> None:
    async with make_control() as control:
        await control.up(FIRST, min=1)
        await control.journal.flush()
    async with make_control() as control:
        await control.settle()
        (managed,) = control.clusters.list(control.account)
        await control.until(lambda: managed.route.targets)
        assert processes(control) == [SMALL]
        assert await answer(control, managed) == "hello by 0.0"


async def test_a_changed_adapter_under_the_same_name_is_what_is_loaded_next(
    make_control: MakeControl, models: Path
) -> None:
    write(models / "tiny" / "changing", adapter(SMALL, lora_alpha=8, peft_version="1"))
    async with make_control() as control:
        base = await control.up(SMALL)
        managed = await control.up("tiny/changing")
        assert await answer(control, managed) == "hello by 1"
        await control.delete("tiny/changing")
        config = adapter(SMALL, lora_alpha=8, peft_version="2")["adapter_config.json"]
        (models / "tiny" / "changing" / "adapter_config.json").write_bytes(config)
        managed = await control.up("tiny/changing")
        assert await answer(control, managed) == "hello by 2"
        assert processes(control) == [SMALL]
        assert len(base.replicas) == 1


async def test_one_that_goes_on_with_a_cancelled_request_is_ended_with_its_bases_replica(
    make_control: MakeControl,
) -> None:
    async with make_control() as control:
        base = await control.up(SMALL)
        first = await control.up(FIRST)
        stuck = control.only(base).id
        control.plane.end_stuck(first.cluster.id, control.only(first).id, "it went on")
        await control.until(lambda: stuck not in base.replicas and first.route.targets)
        assert base_of(control, first) != stuck
        assert f"{stuck} is ended: it went on" in await control.events(SMALL)
