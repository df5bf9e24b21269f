"""Two servers whose PostgreSQL ends and is taken over from by another: inference goes on, and all that came is written.
The short form, of the store alone, is in tests/store/test_fail_over.py."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from modelyard.accounts.keys import CACHED_S
from tests.serving import wait_until
from tests.serving.killed import FOLLOWED_S, requests_answered, two_replicas
from tests.serving.many import MODEL, Many
from tests.store.postgresql import run_replicated

AWAY_S = 2 * CACHED_S
"""Longer than any process remembers a key."""
ASKED_EVERY_S = 0.25
"""Of each server: it lets a hundred begin that cannot be written."""


@pytest.mark.verify(part="ray")
async def test_inference_goes_on_while_another_postgresql_takes_over_and_servers_go_on_with_that(
    tmp_path: Path,
) -> None:
    with run_replicated() as databases:
        many = Many(tmp_path, databases.url)
        try:
            await many.up(2, "node-0", "node-1")
            await two_replicas(many)
            lives, workers = many.open_lives(), [each.pid for each in many.workers()]
            for server in many.servers:
                assert server.run("before").status_code == 200
            answered = len(many.servers)
            wait_until(lambda: requests_answered(many) == answered)
            await asyncio.to_thread(databases.catch_up)

            await asyncio.to_thread(databases.end_first)
            until, never = time.monotonic() + AWAY_S, threading.Event()
            while time.monotonic() < until:
                for server in many.servers:
                    response = server.run("meanwhile")
                    assert response.status_code == 200, response.text
                    answered += 1
                never.wait(ASKED_EVERY_S)
            await asyncio.to_thread(databases.take_over)

            wait_until(lambda: requests_answered(many) == answered, every_s=0.2)
            for server in many.servers:
                body = {"capacity": {"min": 2, "desired": 2, "max": 3 + server.number}}
                wait_until(
                    lambda server=server, body=body: (
                        server.client.patch(f"/models/v2/{MODEL}", json=body).status_code == 200
                    )
                )
            assert many.open_lives() == lives
            assert [each.pid for each in many.workers()] == workers

            leader = many.leader()
            (other,) = (each for each in many.servers if each is not leader)
            leader.kill()
            began = time.monotonic()
            assert other.run("after").status_code == 200
            assert time.monotonic() - began <= FOLLOWED_S
            assert many.open_lives() == lives
        finally:
            await many.close()
