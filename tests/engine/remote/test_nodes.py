"""Replicas on other machines: what happens when an agent, its machine, a server or what is between them fails."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelyard.engine.base import Phase, Place
from modelyard.engine.remote.engine import RemoteEngine
from modelyard.engine.remote.finder import AgentAddress
from modelyard.engine.remote.messages import Ask, Greet, Seen, to_line
from modelyard.engine.remote.node import ASK_EVERY_S, RemoteNode
from modelyard.errors import ReplicaLost
from modelyard.records.deaths import Death
from tests.engine.agents import HOST, Agents, Found
from tests.engine.conftest import cleared, started, two_servers
from tests.engine.harness import DEADLINE_S, Harness, ask, echo_spec, eventually, is_alive, new_token

NOTICED_S = 3.0


@pytest.fixture
async def lone(tmp_path: Path) -> AsyncIterator[Agents]:
    """One node of the test's own, for tests that end it."""
    agents = Agents(tmp_path)
    try:
        await agents.start("lone")
        yield agents
    finally:
        await agents.close()


@pytest.fixture
async def leading(lone: Agents) -> AsyncIterator[Harness]:
    """The server that leads there."""
    async with started(RemoteEngine(lone.finder())) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            yield harness


def node_names(harness: Harness) -> list[str]:
    return [node.name for node in harness.engine.nodes()]


async def test_nodes_come_and_go_and_replicas_go_with_them(
    lone: Agents, leading: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = echo_spec()
    link = await leading.boot(spec)
    pid = leading.engine.sightings()[spec.replica_id].pid
    assert pid is not None

    await lone.kill("lone")
    sighting = await leading.until_gone(spec.replica_id)

    assert sighting.host_died
    assert "node lone" in (sighting.reason or "")
    assert await link.find_death(0.0) == Death(sighting.reason or "", host_died=True)
    assert leading.engine.nodes() == ()
    monkeypatch.setattr("modelyard.engine.remote.engine.TELL_S", DEADLINE_S)
    async with asyncio.timeout(DEADLINE_S / 2):  # nobody waits for it any more
        await leading.engine.lead(new_token())
    await eventually(lambda: not is_alive(pid))
    late = echo_spec()
    leading.launch(late, Place("lone"))
    assert leading.engine.sightings()[late.replica_id].reason == "there is no node lone"
    await lone.start("lone")  # anew, at another address
    await leading.until(lambda: leading.engine.nodes())
    anew = echo_spec()
    assert await ask(await leading.boot(anew), "hello") == "hello"
    lone.lose("lone")
    assert (await leading.until_gone(anew.replica_id)).host_died


async def test_a_node_that_was_cut_off_is_noticed_and_leaves_no_orphan(agents: Agents, remote: Harness) -> None:
    spec = echo_spec()
    await remote.boot(spec)
    pid = remote.engine.sightings()[spec.replica_id].pid
    assert pid is not None

    began = time.monotonic()
    agents.signal("first", signal.SIGSTOP)
    try:
        sighting = await remote.until_gone(spec.replica_id)
        noticed_s = time.monotonic() - began
        was_alive = is_alive(pid)
    finally:
        agents.signal("first", signal.SIGCONT)

    assert sighting.host_died
    assert "no sign of life" in (sighting.reason or "")
    assert 1.0 < sighting.silent_s < noticed_s + 2 * ASK_EVERY_S, "it is on nobody's bill since"
    assert was_alive
    assert noticed_s < NOTICED_S * 2  # a busy machine; at rest it is 2.5 s
    await eventually(lambda: not is_alive(pid))
    await remote.until(lambda: "first" in node_names(remote))
    assert remote.engine.sightings()[spec.replica_id] == sighting
    assert await ask(await remote.boot(), "hello") == "hello"


async def test_a_node_that_hangs_keeps_no_server_from_leading_and_follows_it_when_it_goes_on(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.engine.remote.node.MOST_SILENCE", 10**9)  # it is never taken for lost
    async with two_servers(lambda: RemoteEngine(agents.finder())) as (before, after):
        await before.engine.lead(new_token())
        hung, other = echo_spec(), echo_spec()
        for spec, name in ((hung, "first"), (other, "second")):
            before.launch(spec, Place(name))
            await before.until_phase(spec.replica_id, Phase.READY)
        worker = before.engine.sightings()[hung.replica_id].pid
        assert worker is not None
        os.kill(worker, signal.SIGSTOP)
        agents.signal("first", signal.SIGSTOP)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await after.engine.lead(new_token())
            sightings = after.engine.sightings()
            assert sightings[other.replica_id].phase is Phase.READY
            assert sightings[hung.replica_id].phase is Phase.STARTING
        finally:
            agents.signal("first", signal.SIGCONT)
            os.kill(worker, signal.SIGCONT)
        assert (await after.until_phase(hung.replica_id, Phase.READY)).pid == worker
        await after.engine.read_logs("none", 1)  # by then the node has heard who leads
        late = echo_spec()
        before.launch(late, Place("first"))
        assert (await before.until_gone(late.replica_id)).host_died


async def test_what_an_earlier_server_has_launched_on_a_node_that_heard_of_the_next_one_too_late_ends(
    agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.engine.remote.node.MOST_SILENCE", 10**9)  # it is never taken for lost
    async with two_servers(lambda: RemoteEngine(agents.finder())) as (before, after):
        await before.engine.lead(new_token())
        late = echo_spec()
        agents.signal("first", signal.SIGSTOP)
        try:
            before.launch(late, Place("first"))
            await after.engine.lead(new_token())
        finally:
            agents.signal("first", signal.SIGCONT)
        await before.until_gone(late.replica_id)
        await after.boot(echo_spec())
        assert late.replica_id not in after.engine.sightings()


class Network:
    """What is between servers and one agent, at a port of its own. While it is cut nothing arrives; what was sent
    meanwhile does when it is mended."""

    def __init__(self, agent: AgentAddress) -> None:
        self._agent = agent
        self.is_whole = asyncio.Event()
        self.is_whole.set()

    async def open(self) -> AgentAddress:
        """Where the agent is reached through it."""
        self._server = await asyncio.start_server(self._carry, HOST, 0)
        return dataclasses.replace(self._agent, port=self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._agent.host, self._agent.port)
        with suppress(OSError):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, far_writer))
                group.create_task(self._pass_on(far_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while some := await reader.read(65536):
            await self.is_whole.wait()
            writer.write(some)
        writer.close()


async def test_a_node_whose_network_is_cut_leaves_no_orphan_when_it_is_mended(lone: Agents) -> None:
    network = Network(lone.addresses["lone"])
    found = Found()
    found.take([await network.open()])
    async with started(RemoteEngine(found.finder())) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            spec = echo_spec()
            await harness.boot(spec)
            pid = engine.sightings()[spec.replica_id].pid
            assert pid is not None
            network.is_whole.clear()
            began = time.monotonic()
            assert (await harness.until_gone(spec.replica_id)).host_died
            assert time.monotonic() - began < NOTICED_S * 2  # a busy machine; at rest it is 2.5 s
            assert engine.nodes() == ()
            assert is_alive(pid)
            network.is_whole.set()
            await harness.until(lambda: node_names(harness) == ["lone"])
            await eventually(lambda: not is_alive(pid))
            assert await ask(await harness.boot(), "hello") == "hello"
    await network.close()


async def test_an_error_of_ours_in_what_a_node_tells_does_not_lose_it(
    agents: Agents, remote: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sees, errors = RemoteEngine.node_sees, [RuntimeError("a bug")]

    def fails_once(engine: RemoteEngine, node: RemoteNode, seen: Seen) -> None:
        if errors:
            raise errors.pop()
        sees(engine, node, seen)

    monkeypatch.setattr(RemoteEngine, "node_sees", fails_once)
    assert await ask(await remote.boot(), "hello") == "hello"
    assert "an error in what node" in caplog.text
    assert "RuntimeError: a bug" in caplog.text


async def test_a_server_that_is_busy_loses_no_node(agents: Agents, remote: Harness) -> None:
    link = await remote.boot()
    time.sleep(1.3 * NOTICED_S)  # holds the loop
    await asyncio.sleep(0)
    assert await ask(link, "still there") == "still there"
    assert {sighting.phase for sighting in remote.engine.sightings().values()} == {Phase.READY}
    assert node_names(remote) == ["first", "second"]


async def test_a_connection_that_breaks_is_made_anew_and_harms_no_replica(agents: Agents, remote: Harness) -> None:
    spec = echo_spec()
    link = await remote.boot(spec)
    before = remote.engine.sightings()[spec.replica_id]
    engine = remote.engine
    assert isinstance(engine, RemoteEngine)
    node = engine._nodes["first"]
    assert node._writer is not None
    node._writer.transport.abort()
    await eventually(lambda: not node.told.is_set())

    late = echo_spec()
    remote.launch(late)
    await remote.until_phase(late.replica_id, Phase.READY)
    await engine.stop(late.replica_id, 5.0)

    assert engine.sightings()[spec.replica_id] == before
    assert await ask(link, "still there") == "still there"


async def test_a_call_that_could_not_be_sent_is_not_carried_out_later(agents: Agents, remote: Harness) -> None:
    engine = remote.engine
    assert isinstance(engine, RemoteEngine)
    node = engine._nodes["first"]
    agent = node.agent
    breaks_off = await asyncio.start_server(lambda reader, writer: writer.transport.abort(), HOST, 0)
    node.agent = dataclasses.replace(agent, port=breaks_off.sockets[0].getsockname()[1])
    assert node._writer is not None
    node._writer.transport.abort()
    await eventually(lambda: not node.told.is_set())

    with pytest.raises(ReplicaLost, match="Node first has broken off the connection"):
        await engine.take_launches("first", False)

    node.agent = agent
    await eventually(node.told.is_set)
    await engine.read_logs("none", 1)  # by then the agent has done what it was sent before
    assert [each.accepting for each in engine.nodes()] == [True, True]
    breaks_off.close()
    await breaks_off.wait_closed()


async def test_who_does_not_show_the_secret_is_told_nothing(agents: Agents) -> None:
    agent = agents.addresses["first"]
    for said in (Greet("another secret"), Ask()):
        reader, writer = await asyncio.open_connection(agent.host, agent.port)
        writer.write(to_line(said) + to_line(Ask()))
        assert await reader.read() == b""
        writer.close()


async def test_replicas_that_no_server_leads_end_and_then_their_agent(tmp_path: Path) -> None:
    agents = Agents(tmp_path, unled_s=0.5)
    await agents.start("lone")
    async with started(RemoteEngine(agents.finder())) as engine:
        await engine.lead(new_token())
        harness = Harness(engine)
        facts = json.loads(await ask(await harness.boot(), "facts"))
        (sighting,) = engine.sightings().values()
    assert sighting.pid == facts["group"]
    assert await agents.processes["lone"].wait() == 0
    assert not is_alive(facts["group"])
