"""Replicas that take connections by TCP, so that servers on other machines can talk to them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest

from modelyard.engine.base import Phase
from modelyard.engine.link import Link
from modelyard.engine.local import LocalEngine
from modelyard.errors import ReplicaLost
from modelyard.units import GIB
from tests.engine.conftest import started
from tests.engine.harness import SECRET, Harness, ask, echo_spec
from tests.engine.workers import ECHO_STANDBY


@pytest.fixture(params=["127.0.0.1", "::1"])
async def over_tcp(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """Confined, as in production."""
    async with started(LocalEngine(GIB, standby=ECHO_STANDBY, host=request.param)) as engine:
        yield Harness(engine)


async def test_a_replica_answers_several_servers_that_show_its_secret(over_tcp: Harness) -> None:
    spec = echo_spec()
    first = await over_tcp.boot(spec)
    address = over_tcp.engine.sightings()[spec.replica_id].address
    assert address is not None
    assert address.startswith("tcp://")
    told: list[object] = []
    second = await Link.connect(address, SECRET, told.append)
    assert await ask(first, "hello") == await ask(second, "hello") == "hello"
    assert second._connection._transport is not None
    used = second._connection._transport.get_extra_info("socket")
    kept_alive, vanished_ms = (socket.SOL_SOCKET, socket.SO_KEEPALIVE), (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert [used.getsockopt(*each) for each in (kept_alive, vanished_ms)] == [1, 10_000]
    with pytest.raises(ReplicaLost, match="refused"):
        await Link.connect(address, "another secret", told.append)
    await second.close()
    assert await ask(first, "still there") == "still there"


async def test_a_replica_that_listens_on_no_address_of_this_machine_is_gone() -> None:
    async with started(LocalEngine(GIB, standby=ECHO_STANDBY, host="192.0.2.1")) as engine:
        harness = Harness(engine)
        spec = echo_spec()
        harness.launch(spec)
        seen = await harness.until_phase(spec.replica_id, Phase.GONE)
        assert "cannot start a process" in (seen.reason or "")
