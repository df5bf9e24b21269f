"""Jobs that one account asks for by the hundred: it may have some, and others' jobs take turns with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.attacks.registry import attack_on
from tests.catalog.models import model, write
from tests.serving import Server

ASKED = 40


def write_models(models: Path) -> None:
    for number in range(ASKED):
        write(models / "many" / f"m{number:02}", model())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    write_models(tmp_path / "models")
    server = Server(tmp_path, tmp_path / "models", "--rate-limit", "0", boots=False)  # no job gets done meanwhile
    server.start(warm=False)
    try:
        yield server
    finally:
        server.client.close()
        server.stop()


@attack_on(write_models, MODELYARD_RATE_LIMIT="0")
def ask_for_many_jobs(server: Server) -> object:
    return ask(server)


def ask(server: Server) -> list[httpx.Response]:
    return [server.client.post(f"/models/v2/request/many/m{number:02}", json={}) for number in range(ASKED)]


def test_the_queue_of_jobs_is_bounded_for_each_account(server: Server) -> None:
    answers = ask(server)

    statuses = [answer.status_code for answer in answers]
    assert 20 <= statuses.count(202) + statuses.count(200) < ASKED, statuses
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert "20 jobs that are not over" in refused.json()["error"]
    assert int(refused.headers["retry-after"]) > 0
