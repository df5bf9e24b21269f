"""What every engine promises of adapters that run in the process of a replica of their base."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from modelyard.engine.base import Phase
from modelyard.engine.link import ReplicaLink
from modelyard.errors import ReplicaLost
from modelyard.records.replicas import ReplicaSpec
from tests.engine.harness import Harness, ask, finish, first_piece

GREEDY = {"max_new_tokens": 8, "do_sample": False}


async def load(engine: Harness, spec: ReplicaSpec) -> ReplicaLink:
    return await engine.boot(spec)


async def test_adapters_answer_beside_their_base_in_its_process(any_engine: Harness, tmp_path: Path) -> None:
    base = await any_engine.boot()
    base_id = any_engine.id_of(base)
    plain = await ask(base, "hello", **GREEDY)
    specs = [any_engine.adapter(base_id, tmp_path / str(number), number) for number in (1, 2)]
    links = await asyncio.gather(*(load(any_engine, spec) for spec in specs))

    for spec in specs:
        assert any_engine.phases(spec.replica_id) == [Phase.STARTING, Phase.LOADING, Phase.READY]
        sighting = any_engine.engine.sightings()[spec.replica_id]
        assert (sighting.place, sighting.pid) == (any_engine.place, None)
        assert sighting.slots == any_engine.engine.sightings()[base_id].slots
    answers = await asyncio.gather(*(ask(link, "hello", **GREEDY) for link in (base, *links, *links, base)))
    assert answers[0] == answers[5] == plain
    assert answers[1:3] == answers[3:5]
    assert len(set(answers)) == 3
    *pieces, output = await finish(links[0].request({"text": "hello"}, GREEDY, stream=True))
    assert "".join(pieces) == output == answers[1]


async def test_one_that_is_stopped_harms_nobody_beside_it(any_engine: Harness, tmp_path: Path) -> None:
    base = await any_engine.boot()
    base_id = any_engine.id_of(base)
    specs = [any_engine.adapter(base_id, tmp_path / str(number), number) for number in (1, 2)]
    first, second = await asyncio.gather(*(load(any_engine, spec) for spec in specs))
    held = first.request(*any_engine.slow, stream=True)
    await first_piece(held)
    waits = asyncio.create_task(ask(second, "hello", **GREEDY))

    await any_engine.engine.stop(specs[0].replica_id, 5.0)

    sighting = any_engine.engine.sightings()[specs[0].replica_id]
    assert (sighting.phase, sighting.reason, sighting.link) == (Phase.GONE, "stopped", None)
    with pytest.raises(ReplicaLost):
        await finish(held)
    assert first.closed
    with pytest.raises(ReplicaLost):
        first.request({"text": "too late"}, {}, stream=False)
    assert not second.closed
    assert (await waits).startswith("hello")
    assert (await ask(base, "hello", **GREEDY)).startswith("hello")
    any_engine.engine.forget(specs[0].replica_id)
    assert specs[0].replica_id not in any_engine.engine.sightings()


async def test_files_that_have_changed_are_what_is_loaded_next(any_engine: Harness, tmp_path: Path) -> None:
    base = await any_engine.boot()
    base_id = any_engine.id_of(base)
    spec = any_engine.adapter(base_id, tmp_path / "tuned", 1)
    before = await ask(await load(any_engine, spec), "hello", **GREEDY)
    await any_engine.engine.stop(spec.replica_id, 5.0)

    after = await ask(await load(any_engine, any_engine.adapter(base_id, tmp_path / "tuned", 2)), "hello", **GREEDY)

    assert after != before


async def test_with_its_bases_replica_an_adapter_ends(any_engine: Harness, tmp_path: Path) -> None:
    base_id = any_engine.id_of(await any_engine.boot())
    spec = any_engine.adapter(base_id, tmp_path / "tuned", 1)
    link = await load(any_engine, spec)
    exchange = link.request(*any_engine.slow, stream=True)
    await first_piece(exchange)

    any_engine.kill(base_id)

    with pytest.raises(ReplicaLost):
        await finish(exchange)
    sighting = await any_engine.until_phase(spec.replica_id, Phase.GONE)
    assert sighting.host_died
    assert not sighting.refused
    assert "SIGKILL" in (sighting.reason or "")
    death = await link.find_death(10.0)
    assert death is not None
    assert "SIGKILL" in death.reason


async def test_one_that_does_not_fit_is_refused(any_engine: Harness, tmp_path: Path) -> None:
    base = await any_engine.boot()
    spec = any_engine.adapter(any_engine.id_of(base), tmp_path / "alien", 1)
    (tmp_path / "alien" / "adapter_config.json").write_text('{"target_modules": ["nowhere"], "lora_alpha": 8}')
    any_engine.launch(spec)
    sighting = await any_engine.until_phase(spec.replica_id, Phase.GONE)
    assert sighting.refused
    assert "made for another model" in (sighting.reason or "")
    assert (await ask(base, "hello", **GREEDY)).startswith("hello")


async def test_one_whose_files_are_gone_is_not_refused_for_ever(any_engine: Harness, tmp_path: Path) -> None:
    base = await any_engine.boot()
    spec = replace(any_engine.adapter(any_engine.id_of(base), tmp_path / "tuned", 1), path=str(tmp_path / "gone"))
    any_engine.launch(spec)
    sighting = await any_engine.until_phase(spec.replica_id, Phase.GONE)
    assert not sighting.refused
    assert "No such file" in (sighting.reason or "")


async def test_where_its_bases_replica_is_not_an_adapter_is_gone_at_once(any_engine: Harness, tmp_path: Path) -> None:
    spec = any_engine.adapter("in_never_launched", tmp_path / "tuned", 1)
    any_engine.launch(spec)
    sighting = any_engine.engine.sightings()[spec.replica_id]
    assert (sighting.phase, sighting.host_died) == (Phase.GONE, True)
    await any_engine.engine.stop(spec.replica_id, 5.0)


async def test_one_can_be_stopped_while_it_loads(any_engine: Harness, tmp_path: Path) -> None:
    base = await any_engine.boot()
    spec = any_engine.adapter(any_engine.id_of(base), tmp_path / "tuned", 1)
    any_engine.launch(spec)
    await any_engine.engine.stop(spec.replica_id, 5.0)
    assert any_engine.engine.sightings()[spec.replica_id].phase is Phase.GONE
    assert (await ask(base, "hello", **GREEDY)).startswith("hello")
