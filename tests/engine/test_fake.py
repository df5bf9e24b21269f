"""The engine that tests hold the reins of ends a replica as the death of its process would."""

import socket
from contextlib import suppress

from tests.engine.fake import FakeEngine
from tests.engine.harness import Harness
from tests.loop import turns


async def test_a_replica_that_dies_at_any_step_of_a_new_connection_breaks_it(fake_engine: FakeEngine) -> None:
    harness = Harness(fake_engine)
    for steps in range(5):
        replica_id = harness.id_of(await harness.boot())
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(fake_engine.address(replica_id).removeprefix("unix:"))
            peer.setblocking(False)
            await turns(steps)  # of none, until its socket is there, its connection, and its reader

            fake_engine.die(replica_id)

            await turns(10)
            with suppress(ConnectionResetError):  # of one that was not accepted
                assert peer.recv(1) == b""
    await harness.clear()
