"""What one account's reads cost another: each has a budget of calls, and large answers count for more."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from tests.attacks.registry import attack
from tests.attacks.test_strangers import add_account
from tests.described import documents
from tests.serving import PLAIN, REQUEST_S, Server

MODELS = 3_000
LARGE = "/models/v2/list/models"
"""With `limit=3000` a page of 900 kB."""
SMALL = "/models/v2/list/clusters"
READERS = 16
PAGES = 2
"""That each reader asks for in `make test`."""
HONEST_CALLS = 200
"""Measured to find how long they wait: the slowest two are beyond the 99th percentile."""


def add_models(server: Server, count: int) -> None:
    """Writes so many models into the catalogue's table, each like one of the published list."""
    with sqlite3.connect(server.data_dir / "modelyard.db", timeout=60) as database:
        columns = [column[1] for column in database.execute("PRAGMA table_info(models)")]
        values = ", ".join("'many/model-' || n" if column == "model_id" else column for column in columns)
        database.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
            f"INSERT INTO models ({', '.join(columns)}) SELECT {values} FROM numbers, (SELECT * FROM models LIMIT 1)"
        )
    database.close()


def serve(folder: Path, models: int, **environ: str) -> Iterator[Server]:
    (folder / "models").mkdir()
    with Server(folder, folder / "models", boots=False, **environ) as server:
        assert server.client.get(LARGE).status_code == 200  # the published list is there
        add_models(server, models)
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from serve(tmp_path_factory.mktemp("reads"), MODELS, MODELYARD_CALLS_PER_S="5")


def read_large(client: httpx.Client, count: int, limit: str = str(MODELS)) -> list[httpx.Response]:
    return [client.get(LARGE, params={"limit": limit}) for _ in range(count)]


@attack
def read_many_lists(server: Server) -> None:
    read_large(server.client, 20)


def test_many_readers_of_large_lists_are_answered_a_few_and_told_when_to_come_back(server: Server) -> None:
    with add_account(server, "eve") as eve, add_account(server, "ada") as ada, ThreadPoolExecutor(READERS) as threads:
        assert len(read_large(eve, 1)[0].content) > 500_000
        reading = [threads.submit(read_large, eve, PAGES) for _ in range(READERS)]
        honest = [ada.get(SMALL).status_code for _ in range(10)]
        answers = [answer for each in reading for answer in each.result()]
    statuses = Counter(answer.status_code for answer in answers)
    assert honest == [200] * 10
    assert statuses[200] + statuses[429] == READERS * PAGES
    assert statuses[200] < READERS, statuses  # of 32; so many were under way before the first was counted
    refusals = [answer for answer in answers if answer.status_code == 429]
    assert all(int(refusal.headers["retry-after"]) > 0 for refusal in refusals)
    assert any("limited to 5 per second" in refusal.json()["error"] for refusal in refusals)


def test_v1_is_told_in_its_own_words(server: Server) -> None:
    with add_account(server, "mallory") as mallory:
        answers = [mallory.post("/model/list?limit=3000") for _ in range(4)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [set(answer.json()) for answer in refused] == [{"error"}] * len(refused) != []


def test_whether_the_server_lives_is_answered_whatever_else_was_asked(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=REQUEST_S, verify=PLAIN) as stranger:
        assert {stranger.get("/livez").status_code for _ in range(300)} == {200}


@pytest.mark.verify(part="attacks")
def test_readers_take_a_small_part_of_the_server_and_others_hardly_wait(tmp_path: Path) -> None:
    for server in serve(tmp_path, 100_000):
        assert server.process is not None
        process = psutil.Process(server.process.pid)
        documents.remove(server.port)  # checking ten thousand models an answer keeps this process from measuring
        with add_account(server, "eve") as eve, add_account(server, "ada") as ada:
            alone_s = slowest(ada)
            with ThreadPoolExecutor(READERS) as threads:
                reading = [threads.submit(read_large, eve, 8, "10000") for _ in range(READERS)]
                time.sleep(5.0)  # the burst that everybody may have is over
                begun, used = time.monotonic(), sum(process.cpu_times()[:2])
                beside_s = slowest(ada)
                share = (sum(process.cpu_times()[:2]) - used) / (time.monotonic() - begun)
                answers = Counter(answer.status_code for each in reading for answer in each.result())
        print(f"p99 alone {alone_s * 1000:.1f} ms, beside {beside_s * 1000:.1f} ms; share {share:.2f}; {answers}")
        assert share < 0.5
        assert beside_s < max(3 * alone_s, alone_s + 0.02)


def slowest(client: httpx.Client) -> float:
    """The 99th percentile of how long a small read takes, in seconds."""
    took_s = []
    for _ in range(HONEST_CALLS):
        begun = time.monotonic()
        assert client.get(SMALL).status_code == 200
        took_s.append(time.monotonic() - begun)
        time.sleep(0.02)
    return sorted(took_s)[HONEST_CALLS * 99 // 100]
