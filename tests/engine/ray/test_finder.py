"""Nodes of a real Ray cluster: what joins is used, what dies is noticed, what runs outlives the server."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from modelyard.cli.problems import describe
from modelyard.engine.base import Phase, Place
from modelyard.engine.ray.finder import RayFinder
from modelyard.engine.ray.messages import CannotConnect, to_line
from modelyard.engine.remote.engine import RemoteEngine
from modelyard.errors import Unavailable
from tests.engine.conftest import cleared, started
from tests.engine.harness import Harness, ask, echo_spec, eventually, is_alive, new_token
from tests.engine.ray.cluster import RayCluster, open_cluster

NOTICED_S = 3.0
JOINED_S = 60.0
"""Until a machine that joins is used: seconds, of which Ray's own start is the most; here it is on a busy machine."""


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RayCluster]:
    async with open_cluster(tmp_path_factory.mktemp("ray"), "head", "other") as cluster:
        yield cluster


@pytest.fixture
async def leading(cluster: RayCluster) -> AsyncIterator[Harness]:
    async with started(RemoteEngine(RayFinder(cluster.address, cluster.environ))) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            yield harness


def names(harness: Harness) -> set[str]:
    return {node.name for node in harness.engine.nodes()}


async def test_replicas_run_on_every_node_and_outlive_the_server(cluster: RayCluster, leading: Harness) -> None:
    assert names(leading) == {"head", "other"}
    specs = {name: echo_spec() for name in names(leading)}
    for name, spec in specs.items():
        leading.launch(spec, Place(name))
    before = {name: await leading.until_phase(spec.replica_id, Phase.READY) for name, spec in specs.items()}
    await leading.engine.close()

    async with started(RemoteEngine(RayFinder(cluster.address, cluster.environ))) as engine:
        await engine.lead(new_token())
        next_one = Harness(engine)
        for name, spec in specs.items():
            found = await next_one.until_phase(spec.replica_id, Phase.READY)
            assert (found.pid, found.place) == (before[name].pid, Place(name))
            assert await ask(found.link, "still there") == "still there"
        await next_one.clear()


async def test_a_node_that_dies_is_noticed_and_one_that_joins_is_used(cluster: RayCluster, leading: Harness) -> None:
    spec = echo_spec()
    leading.launch(spec, Place("other"))
    pid = (await leading.until_phase(spec.replica_id, Phase.READY)).pid
    assert pid is not None

    began = time.monotonic()
    killing = asyncio.create_task(cluster.do("kill", "other"))
    sighting = await leading.until_gone(spec.replica_id)
    noticed_s = time.monotonic() - began
    await killing

    assert sighting.host_died
    assert noticed_s < NOTICED_S * 2  # a busy machine
    await eventually(lambda: not is_alive(pid))
    await cluster.do("add", "another")
    await leading.until(lambda: names(leading) == {"head", "another"})
    late = echo_spec()
    leading.launch(late, Place("another"))
    assert (await leading.until_phase(late.replica_id, Phase.READY)).place == Place("another")


@pytest.mark.verify(part="ray")
async def test_a_node_that_is_cut_off_and_comes_back_leaves_no_orphan(tmp_path: Path) -> None:
    async with (
        open_cluster(tmp_path, "head", "far") as cluster,
        started(RemoteEngine(RayFinder(cluster.address, cluster.environ))) as engine,
    ):
        await engine.lead(new_token())
        leading, spec = Harness(engine), echo_spec()
        leading.launch(spec, Place("far"))
        pid = (await leading.until_phase(spec.replica_id, Phase.READY)).pid
        assert pid is not None
        await cluster.do("freeze", "far")
        began = time.monotonic()
        assert (await leading.until_gone(spec.replica_id)).host_died
        assert time.monotonic() - began < NOTICED_S * 2  # a busy machine
        assert is_alive(pid)
        await cluster.do("thaw", "far")
        await eventually(lambda: not is_alive(pid))
        began = time.monotonic()
        await cluster.do("add", "near")
        await leading.until(lambda: "near" in names(leading))
        assert time.monotonic() - began < JOINED_S
        late = echo_spec()
        leading.launch(late, Place("near"))
        assert (await leading.until_phase(late.replica_id, Phase.READY)).place == Place("near")
        await leading.clear()


async def test_a_cluster_that_cannot_be_reached_is_told_with_what_to_look_at() -> None:
    says = f"import sys; sys.stdout.buffer.write({to_line(CannotConnect('no such token'))!r})"
    finder = RayFinder("far:6379", program=(sys.executable, "-c", says))
    with pytest.raises(Unavailable, match="cluster far:6379 cannot be reached: no such token") as caught:
        await finder.start(lambda agents: None)
    assert "~/.ray/auth_token" in describe(caught.value).line


async def test_without_ray_a_server_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Unavailable, match=r"pip install 'modelyard\[ray\]'"):
        await RayFinder("auto").start(lambda agents: None)
