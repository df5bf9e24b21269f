"""Several servers, each a process, on a real Ray cluster and a real PostgreSQL: whichever leads, stops or dies."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.engine.agents import PROGRAM
from tests.engine.ray.cluster import RayCluster, open_cluster
from tests.serving import wait_until
from tests.serving.killed import (
    FOLLOWED_S,
    disturb_every_5_s,
    go_on_without,
    is_open,
    lose_nothing,
    open_stream,
    two_replicas,
)
from tests.serving.many import MODEL, Many
from tests.store.postgresql import create_schema, url_of_schema

SERVERS = 3
HEAD, NODES = "head", ("node-1", "node-2")
STOPPED_S = 20.0


class ManyOnRay(Many):
    """Servers that Ray tells of the nodes. Its head runs replicas, too, and lives: without it there is no cluster."""

    def __init__(self, folder: Path, database_url: str, cluster: RayCluster) -> None:
        super().__init__(folder, database_url)
        self._cluster = cluster
        self.arguments = []
        self.environ = {**cluster.environ, "MODELYARD_RAY_ADDRESS": cluster.address}

    @property
    def nodes(self) -> list[str]:
        return [*NODES]

    async def start_nodes(self, *names: str) -> None:
        for name in names:
            await self._cluster.do("add", name)

    async def kill_node(self, name: str) -> None:
        await self._cluster.do("kill", name)

    def agent_processes(self) -> list[psutil.Process]:
        found = []
        for each in psutil.Process(self._cluster.pid).children(recursive=True):
            with suppress(psutil.Error):
                if PROGRAM in each.cmdline():
                    found.append(each)
        return found


@pytest.fixture(scope="module")
async def all_servers(tmp_path_factory: pytest.TempPathFactory, postgresql_server: str) -> AsyncIterator[Many]:
    url = url_of_schema(postgresql_server, create_schema(postgresql_server))
    async with open_cluster(tmp_path_factory.mktemp("ray"), HEAD, *NODES) as cluster:
        many = ManyOnRay(tmp_path_factory.mktemp("servers"), url, cluster)
        try:
            yield many
        finally:
            await many.close()


@pytest.fixture
async def many(all_servers: Many) -> Many:
    await all_servers.up(SERVERS)
    return all_servers


@pytest.mark.verify(part="ray")
async def test_the_next_server_goes_on_with_what_a_stopped_or_killed_one_led(many: Many) -> None:
    await two_replicas(many)
    await go_on_without(many, stopped_s=STOPPED_S)

    leader = many.leader()
    other = next(each for each in many.servers if each is not leader)
    lives, workers = many.open_lives(), [each.pid for each in many.workers()]
    connection, _ = open_stream(other)
    leader.kill()
    began = time.monotonic()
    assert other.run("still there").json()["output"] == "still there"
    assert time.monotonic() - began <= FOLLOWED_S
    assert many.open_lives() == lives
    assert [each.pid for each in many.workers()] == workers
    assert is_open(connection)
    connection.close()
    wait_until(lambda: other.under_way() == (0, 0, 0))
    assert other.client.delete(f"/models/v2/{MODEL}").status_code == 200
    wait_until(lambda: not many.workers())


@pytest.mark.verify(part="ray")
async def test_no_request_is_lost_while_replicas_nodes_and_servers_are_killed(many: Many) -> None:
    await lose_nothing(many, servers=SERVERS, nodes=NODES, requests=10_000, pause_s=0.1, disturbances=disturb_every_5_s)
