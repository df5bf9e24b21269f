"""What must hold of every engine whose replicas outlive servers, besides the contract of all engines.

A fixture `servers` of two engines on the same machines is all that these tests know of it.
"""

import pytest

from modelyard.engine.base import Phase
from modelyard.errors import LeaseLost, ReplicaLost
from tests.engine.harness import Harness, ask, finish, first_piece, new_token

Servers = tuple[Harness, Harness]


async def test_who_has_not_led_launches_nothing(servers: Servers) -> None:
    first, _ = servers
    assert first.engine.outlives_servers
    spec = first.good()

    first.launch(spec)

    sighting = await first.until_gone(spec.replica_id)
    assert sighting.host_died
    assert not sighting.refused


async def test_a_replica_lives_on_without_its_server_and_the_next_one_finds_it(servers: Servers) -> None:
    first, second = servers
    await first.engine.lead(new_token())
    spec = first.good()
    await first.boot(spec)
    pid = first.engine.sightings()[spec.replica_id].pid
    await first.engine.close()
    assert not second.engine.sightings()

    await second.engine.lead(new_token())

    found = await second.until_phase(spec.replica_id, Phase.READY)
    assert (found.pid, found.place) == (pid, first.place)
    assert found.memory_bytes is not None
    assert found.spec is not None
    for name in ("replica_id", "model_id", "path", "task", "cluster_id", "need_bytes", "need_device_bytes", "beside"):
        assert getattr(found.spec, name) == getattr(spec, name), name
    assert (await ask(found.link, "still there", max_new_tokens=2)).startswith("still there")


async def test_what_is_still_loading_goes_on(servers: Servers) -> None:
    first, second = servers
    await first.engine.lead(new_token())
    spec = first.good()
    first.launch(spec)
    await first.engine.close()

    await second.engine.lead(new_token())

    found = await second.until_phase(spec.replica_id, Phase.READY)
    assert found.spec is not None
    assert (await ask(found.link, "hello", max_new_tokens=2)).startswith("hello")


async def test_who_has_led_launches_and_stops_nothing_once_another_leads(servers: Servers) -> None:
    first, second = servers
    older = new_token()
    await first.engine.lead(older)
    link = await first.boot()
    replica_id = first.id_of(link)
    await second.engine.lead(new_token())
    late = first.good()

    first.launch(late)
    with pytest.raises(LeaseLost):
        await first.engine.stop(replica_id, 0.0)
    with pytest.raises(LeaseLost):
        await first.engine.lead(older)

    assert (await first.until_gone(late.replica_id)).host_died
    assert late.replica_id not in second.engine.sightings()
    assert second.engine.sightings()[replica_id].phase is Phase.READY
    assert (await ask(link, "harmless", max_new_tokens=2)).startswith("harmless")


async def test_what_a_server_holds_on_a_replica_breaks_nothing_of_anothers(servers: Servers) -> None:
    first, second = servers
    await first.engine.lead(new_token())
    lost = (await first.boot()).request(*first.slow, stream=True)
    await first_piece(lost)
    (replica_id,) = first.engine.sightings()
    await second.engine.lead(new_token())
    link = (await second.until_phase(replica_id, Phase.READY)).link
    assert link is not None
    kept = link.request({"text": "one two three"}, {"max_new_tokens": 8}, stream=True)

    await first.engine.close()

    with pytest.raises(ReplicaLost):
        await finish(lost)
    assert "".join((await finish(kept))[:-1]).startswith("one two three")


async def test_the_next_server_stops_what_it_has_found(servers: Servers) -> None:
    first, second = servers
    await first.engine.lead(new_token())
    replica_id = first.id_of(await first.boot())
    await second.engine.lead(new_token())

    await second.engine.stop(replica_id, 5.0)

    assert second.engine.sightings()[replica_id].phase is Phase.GONE
    assert (await first.until_gone(replica_id)).link is None
