"""Servers, agents and replicas with certificates: what goes between machines is encrypted, and no others are let in."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from modelyard.config import Settings
from modelyard.engine.link import Link
from modelyard.engine.remote.engine import RemoteEngine
from modelyard.engine.remote.messages import Greet, to_line
from modelyard.errors import ReplicaLost
from modelyard.tls import LinkTls, load_tls
from tests.certificates import make_authority, make_certificate
from tests.engine.agents import Agents
from tests.engine.conftest import cleared, started
from tests.engine.harness import Harness, ask, echo_spec, eventually, finish, first_piece, new_token


@pytest.fixture
def tls(certificate: Mapping[str, str]) -> LinkTls | None:
    return load_tls(Settings(**certificate))


async def test_replicas_behind_tls_answer_every_server_that_shows_a_certificate_and_their_secret(
    guarded_agents: Agents, tls: LinkTls | None
) -> None:
    async with started(RemoteEngine(guarded_agents.finder(), tls=tls)) as engine:
        await engine.lead(new_token())
        async with cleared(engine) as harness:
            spec = echo_spec()
            link = await harness.boot(spec)
            address = engine.sightings()[spec.replica_id].address or ""
            assert address.startswith("tls://127.0.0.1:")
            large = "x" * 3_000_000
            assert await ask(link, large) == large

            second = await Link.connect(address, spec.secret, lambda status: None, tls=tls)
            assert await ask(second, "hello") == "hello"
            with pytest.raises(ReplicaLost, match="refused"):
                await Link.connect(address, "another secret", lambda status: None, tls=tls)
            with pytest.raises(ReplicaLost, match="refused"):
                await Link.connect(f"{address}0", spec.secret, lambda status: None, tls=tls)  # none is called so
            with pytest.raises(ReplicaLost, match="with TLS only: set links_certificate"):
                await Link.connect(address, spec.secret, lambda status: None)
            await second.close()

            exchange = link.request(*harness.slow, stream=True)
            await first_piece(exchange)
            harness.kill(spec.replica_id)
            with pytest.raises(ReplicaLost):
                await finish(exchange)
            assert "SIGKILL" in ((await harness.until_gone(spec.replica_id)).reason or "")


async def test_a_server_without_a_certificate_or_with_another_authoritys_uses_no_node_and_says_why(
    guarded_agents: Agents, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = load_tls(Settings(**make_certificate(tmp_path, make_authority(tmp_path, "somebody"))))
    for tls, words in ((None, "before it said anything"), (wrong, "not one of the authority in links_ca")):
        caplog.clear()
        async with started(RemoteEngine(guarded_agents.finder(), tls=tls)) as engine:
            await eventually(lambda words=words: words in caplog.text)
            assert engine.nodes() == ()
        told = [message for message in caplog.messages if "is not used" in message]
        assert len(told) == len({each.split()[1] for each in told}), "once for each node"
        assert all("links_certificate, links_key and links_ca" in each for each in told)


async def test_nothing_a_node_sends_can_be_read_on_the_way(guarded_agents: Agents) -> None:
    agent = guarded_agents.addresses["first"]
    reader, writer = await asyncio.open_connection(agent.host, agent.port)
    writer.write(to_line(Greet(agent.secret)))
    assert b"facts" not in await reader.read()
    writer.close()


async def test_a_node_without_a_certificate_leads_nobody_to_a_replica(agents: Agents, remote: Harness) -> None:
    spec = echo_spec()
    await remote.boot(spec)
    agent = agents.addresses["first"]
    reader, writer = await asyncio.open_connection(agent.host, agent.port)
    writer.write(b'{"type":"enter","replica_id":"%s"}\n' % spec.replica_id.encode())
    assert await reader.read() == b""
    writer.close()
