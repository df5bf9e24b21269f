"""What every engine promises, asked of each implementation: the fake, processes that echo, processes with a model."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.engine.base import Node, Phase, Place, Sighting, Stray
from modelyard.errors import DownloadFailed, InvalidRequest, ModelRefused, ReplicaLost, UnknownNode
from modelyard.records.models import Inspection, ModelCard, Progress, Source
from modelyard.records.variants import ExportOrder, read_manifest
from modelyard.worker.memory import start_ticks
from tests.engine.harness import Harness, ask, eventually, finish, first_piece, is_alive

Open = Callable[[], AbstractAsyncContextManager[Harness]]


async def test_a_launch_leads_to_ready_with_a_usable_link(any_engine: Harness) -> None:
    spec = any_engine.good()
    any_engine.launch(spec)
    assert any_engine.engine.sightings()[spec.replica_id] == Sighting(spec.replica_id, Phase.STARTING, any_engine.place)
    sighting = await any_engine.until_phase(spec.replica_id, Phase.READY)
    # A replica that loads quickly may be READY before anyone has seen it LOADING.
    assert any_engine.phases(spec.replica_id) in (
        [Phase.STARTING, Phase.LOADING, Phase.READY],
        [Phase.STARTING, Phase.READY],
    )
    assert sighting.link is not None
    assert not sighting.link.closed
    assert sighting.slots > 1
    assert sighting.memory_bytes is not None
    assert sighting.peak_bytes is not None
    assert 1024**2 < sighting.memory_bytes <= sighting.peak_bytes
    assert (await ask(sighting.link, "hello", max_new_tokens=2)).startswith("hello")


async def test_launching_an_id_again_does_nothing(any_engine: Harness) -> None:
    spec = any_engine.good()
    any_engine.launch(spec)
    any_engine.launch(spec)
    link = await any_engine.boot(spec)
    any_engine.launch(spec)
    await ask(link, "hello", max_new_tokens=2)
    assert any_engine.engine.sightings()[spec.replica_id].link is link
    assert len(any_engine.engine.sightings()) == 1


async def test_a_stream_adds_up_to_the_answer(any_engine: Harness) -> None:
    link = await any_engine.boot()
    params = {"max_new_tokens": 8, "do_sample": False}
    *pieces, output = await finish(link.request({"text": "one two three"}, params, stream=True))
    assert len(pieces) > 1
    assert "".join(pieces) == output == await ask(link, "one two three", **params)


async def test_many_requests_share_a_link(any_engine: Harness) -> None:
    link = await any_engine.boot()
    texts = [f"this is number {number}." for number in range(40)]
    answers = await asyncio.gather(*(ask(link, text, max_new_tokens=2) for text in texts))
    assert all(answer.startswith(text) for answer, text in zip(answers, texts, strict=True))


async def test_a_request_that_is_wrong_fails_alone(any_engine: Harness) -> None:
    link = await any_engine.boot()
    right = asyncio.create_task(ask(link, "hello", max_new_tokens=2))
    with pytest.raises(InvalidRequest, match="text") as caught:
        await ask(link, {"neither": "text nor list"})
    assert caught.value.data["field"].startswith("text")
    with pytest.raises(InvalidRequest, match="cannot be sent"):
        await ask(link, 1 << 70)
    assert (await right).startswith("hello")


async def test_cancelling_frees_the_replica(any_engine: Harness) -> None:
    link = await any_engine.boot()
    exchange = link.request(*any_engine.slow, stream=True)
    await first_piece(exchange)
    exchange.cancel()
    exchange.cancel()
    assert (await ask(link, "hello", max_new_tokens=2)).startswith("hello")
    assert not exchange.finished


async def test_a_stopped_replica_is_gone_when_stop_returns(any_engine: Harness) -> None:
    link = await any_engine.boot()
    replica_id = any_engine.id_of(link)
    exchange = link.request(*any_engine.slow, stream=True)
    await first_piece(exchange)
    await asyncio.gather(any_engine.engine.stop(replica_id, 5.0), any_engine.engine.stop(replica_id, 5.0))
    sighting = any_engine.engine.sightings()[replica_id]
    assert (sighting.phase, sighting.reason, sighting.link) == (Phase.GONE, "stopped", None)
    assert not sighting.refused
    with pytest.raises(ReplicaLost):
        await finish(exchange)
    assert link.closed
    with pytest.raises(ReplicaLost):
        link.request({"text": "too late"}, {}, stream=False)
    await any_engine.engine.stop(replica_id, 5.0)
    await any_engine.engine.stop("in_never_launched", 5.0)
    assert any_engine.engine.sightings()[replica_id] == sighting


async def test_a_replica_can_be_stopped_before_it_has_started(any_engine: Harness) -> None:
    spec = any_engine.good()
    any_engine.launch(spec)
    await any_engine.engine.stop(spec.replica_id, 5.0)
    assert any_engine.engine.sightings()[spec.replica_id].phase is Phase.GONE
    await ask(await any_engine.boot(), "hello", max_new_tokens=2)
    assert any_engine.phases(spec.replica_id) == [Phase.STARTING, Phase.GONE]


async def test_a_replica_can_be_stopped_while_it_boots(any_engine: Harness) -> None:
    spec = any_engine.good()
    any_engine.launch(spec)
    history = any_engine.history[spec.replica_id]
    await any_engine.until(lambda: len(history) > 1)  # its process has begun
    await any_engine.engine.stop(spec.replica_id, 5.0)
    assert any_engine.engine.sightings()[spec.replica_id].phase is Phase.GONE


async def test_death_is_seen_and_fails_what_was_in_flight(any_engine: Harness) -> None:
    link, other = await asyncio.gather(any_engine.boot(), any_engine.boot())
    replica_id = any_engine.id_of(link)
    exchange = link.request(*any_engine.slow, stream=True)
    waiting = link.request({"text": "not begun"}, {}, stream=False)
    await first_piece(exchange)
    any_engine.kill(replica_id)
    for lost in (exchange, waiting):
        with pytest.raises(ReplicaLost):
            await finish(lost)
    sighting = await any_engine.until_phase(replica_id, Phase.GONE)
    assert sighting.reason is not None
    assert "SIGKILL" in sighting.reason
    assert not sighting.refused
    assert (await ask(other, "unharmed", max_new_tokens=2)).startswith("unharmed")


async def test_a_model_that_cannot_load_is_refused(any_engine: Harness) -> None:
    spec = any_engine.bad()
    any_engine.launch(spec)
    sighting = await any_engine.until_phase(spec.replica_id, Phase.GONE)
    assert sighting.refused
    assert sighting.reason is not None
    assert any_engine.bad_words in sighting.reason
    assert Phase.READY not in any_engine.phases(spec.replica_id)


async def test_only_what_is_gone_can_be_forgotten(any_engine: Harness) -> None:
    replica_id = any_engine.id_of(await any_engine.boot())
    any_engine.engine.forget(replica_id)
    assert replica_id in any_engine.engine.sightings()
    await any_engine.engine.stop(replica_id, 5.0)
    any_engine.engine.forget(replica_id)
    any_engine.engine.forget(replica_id)
    assert replica_id not in any_engine.engine.sightings()


async def test_every_change_is_told(any_engine: Harness) -> None:
    told: list[dict[str, Sighting]] = []
    any_engine.engine.watch(lambda: (told.append(dict(any_engine.engine.sightings())), any_engine._note())[0])
    replica_id = any_engine.id_of(await any_engine.boot())
    await any_engine.engine.stop(replica_id, 5.0)
    assert told[-1] == any_engine.engine.sightings()
    phases = [sightings[replica_id].phase for sightings in told]
    assert {Phase.STARTING, Phase.READY, Phase.GONE} <= set(phases)
    assert phases == sorted(phases, key=list(Phase).index)


async def test_strays_are_ended_by_pid_and_start(any_engine: Harness) -> None:
    processes = [subprocess.Popen(["sleep", "1000"], process_group=0) for _ in range(2)]
    stray, other = (process.pid for process in processes)
    ticks = [start_ticks(pid) for pid in (stray, other)]
    assert ticks[0] is not None
    assert ticks[1] is not None
    try:
        # The second pid was once that of another process.
        node = any_engine.place.node
        strays = [Stray(node, stray, ticks[0]), Stray(node, other, ticks[1] - 1), Stray(node, 2**22 + 1, 5)]
        assert any_engine.engine.end_strays([*strays, Stray("another node", other, ticks[1])]) == 1
        assert processes[0].wait(60) == -9
        assert is_alive(other)
        assert any_engine.engine.end_strays(strays) == 0
    finally:
        for process in processes:
            process.kill()
            process.wait(120)


# --- places ---


def places(node: Node) -> list[Place]:
    return [Place(node.name), *(Place(node.name, (device.name,)) for device in node.devices)]


async def test_a_replica_runs_where_it_was_placed(any_engine: Harness) -> None:
    for place in (place for node in any_engine.engine.nodes() for place in places(node)):
        spec = any_engine.good()
        any_engine.launch(spec, place)
        sighting = await any_engine.until_phase(spec.replica_id, Phase.READY)
        assert {each.place for each in any_engine.history[spec.replica_id]} == {place}
        assert sighting.link is not None
        assert (await ask(sighting.link, "hello", max_new_tokens=2)).startswith("hello")


async def test_on_a_node_that_is_not_there_a_replica_is_gone_at_once(any_engine: Harness) -> None:
    spec = any_engine.good()
    any_engine.launch(spec, Place("in-the-cellar"))
    sighting = any_engine.engine.sightings()[spec.replica_id]
    assert (sighting.phase, sighting.reason) == (Phase.GONE, "there is no node in-the-cellar")
    assert not sighting.refused
    assert sighting.host_died
    await any_engine.engine.stop(spec.replica_id, 5.0)


async def test_a_node_is_told_to_take_no_new_replicas_and_keeps_those_it_has(any_engine: Harness) -> None:
    link = await any_engine.boot()
    node = any_engine.place.node

    def accepting() -> bool:
        return next(each.accepting for each in any_engine.engine.nodes() if each.name == node)

    await any_engine.engine.take_launches(node, False)
    try:
        await any_engine.until(lambda: not accepting())
        assert (await ask(link, "hello", max_new_tokens=2)).startswith("hello")
    finally:
        await any_engine.engine.take_launches(node, True)
    await any_engine.until(accepting)
    with pytest.raises(UnknownNode):
        await any_engine.engine.take_launches("in-the-cellar", False)


async def test_a_device_is_told_to_take_no_new_replicas_and_the_rest_of_its_node_goes_on(any_engine: Harness) -> None:
    engine = any_engine.engine
    for before in engine.nodes():
        if not before.devices:
            continue
        *others, last = before.devices

        without = replace(before, devices=(*others, replace(last, accepting=False)))
        for accepting, expected in ((False, without), (True, before)):
            await engine.take_launches(before.name, accepting, last.name)
            await any_engine.until(lambda expected=expected: expected in engine.nodes())
    with pytest.raises(UnknownNode, match="has no device cuda:77"):
        await engine.take_launches(any_engine.place.node, False, "cuda:77")


# --- what is local to a node ---


def card_of(folder: Path | None) -> ModelCard:
    return ModelCard("tests/model", "text-generation", Source.FOLDER, 1024**2, Inspection(), path=folder)


async def test_the_files_of_a_model_are_where_launches_find_them(any_engine: Harness, tmp_path: Path) -> None:
    told: list[Progress] = []
    assert await any_engine.engine.prepare(card_of(tmp_path), told.append, "acc_1") == tmp_path
    with pytest.raises(DownloadFailed):
        await any_engine.engine.prepare(card_of(None), told.append, "acc_1")


async def test_a_node_that_has_run_a_model_has_its_files(any_engine: Harness) -> None:
    spec = any_engine.good()
    await any_engine.boot(spec)
    card = replace(card_of(Path(spec.path)), model_id=spec.model_id)
    names = {node.name for node in any_engine.engine.nodes()}
    assert any_engine.place.node in any_engine.engine.nodes_with(card)
    assert set(any_engine.engine.nodes_with(card)) <= names


async def test_logs_are_read_by_folder_the_newest_first(any_engine: Harness) -> None:
    folder = f"account/{any_engine.good().replica_id}"
    for name in ("20260501-080000-a", "20260501-080001-b", "20260501-080002-c"):
        spec = replace(any_engine.bad(), log_path=f"{folder}/{name}.log")
        any_engine.launch(spec)
        await any_engine.until_phase(spec.replica_id, Phase.GONE)
    logs = await any_engine.engine.read_logs(folder, 2)
    assert [log.name for log in logs] == ["20260501-080002-c", "20260501-080001-b"]
    assert all(any_engine.bad_words in log.text for log in logs)
    assert len(await any_engine.engine.read_logs(folder, 100)) == 3
    assert await any_engine.engine.read_logs("account/none", 100) == []


def order(source: Path, target: Path) -> ExportOrder:
    task = "text-classification"
    return ExportOrder(path=str(source), task=task, kind="onnx", target=str(target), model_id="tests/classifier")


async def test_a_variant_is_made_step_by_step_and_is_its_owners_alone(
    any_engine: Harness, model_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    target = tmp_path / "variants" / "made"
    target.mkdir(parents=True)
    (target / "of an older one").touch()
    steps: list[str] = []
    wanted = order(model_folder("bert_classifier"), target)
    facts = await any_engine.engine.export(wanted, any_engine.place, steps.append)
    assert facts["parameters"] > 0
    assert facts["logit_error"] <= facts["bound"]
    assert steps
    assert all(steps)
    assert (target / "config.json").is_file()
    assert read_manifest(target).variant_of == wanted.model_id
    assert not (target / "of an older one").exists()
    assert list(target.parent.iterdir()) == [target], "nothing else is left"
    for path in (target, *target.iterdir()):
        found = path.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode) & 0o077) == (os.getuid(), 0), path


async def test_what_no_variant_can_be_made_of_is_refused_and_leaves_nothing(
    any_engine: Harness, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelRefused, match=r"no config\.json"):
        await any_engine.engine.export(order(tmp_path / "empty", tmp_path / "made"), any_engine.place, print)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


async def test_closing_ends_everything(own_engine: Open) -> None:
    others = asyncio.all_tasks()  # this test, and the engines that share its loop
    async with own_engine() as harness:
        links = [await harness.boot() for _ in range(3)]
        exchange = links[0].request(*harness.slow, stream=True)
        await first_piece(exchange)
        unborn = harness.good()
        harness.launch(unborn)
        pids = [sighting.pid for sighting in harness.engine.sightings().values() if sighting.pid is not None]
        await harness.engine.close()
        assert {sighting.phase for sighting in harness.engine.sightings().values()} == {Phase.GONE}
        with pytest.raises(ReplicaLost):
            await finish(exchange)
        await eventually(lambda: not any(map(is_alive, pids)))
        late = harness.good()
        harness.launch(late)
        assert late.replica_id not in harness.engine.sightings()
        await harness.engine.close()
        assert asyncio.all_tasks() <= others


async def test_a_node_says_what_it_may_hold(own_engine: Open) -> None:
    async with own_engine() as harness:
        nodes = harness.engine.nodes()
        assert nodes
        assert len({node.name for node in nodes}) == len(nodes)
        for node in nodes:
            assert node.name
            assert node.memory_bytes >= 1024**3
            assert node.accepting
            assert len({device.name for device in node.devices}) == len(node.devices)
            assert all(device.memory_bytes > 0 for device in node.devices)
        await harness.boot()
        assert harness.engine.warm


async def test_an_engine_that_never_launched_closes(own_engine: Open) -> None:
    async with own_engine() as harness:
        assert dict(harness.engine.sightings()) == {}


async def test_a_crash_while_loading_is_no_refusal(own_engine: Open) -> None:
    async with own_engine() as harness:
        spec = replace(harness.good(), path="crash")
        if hasattr(harness.engine, "fail_next"):
            harness.engine.fail_next("exited with code 7")
        harness.launch(spec)
        sighting = await harness.until_phase(spec.replica_id, Phase.GONE)
        assert sighting.reason is not None
        assert "exited with code 7" in sighting.reason
        assert not sighting.refused
