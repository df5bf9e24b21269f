"""Limits of keys and accounts over three servers, while the one that leads is killed: no more passes than decision 81
says. The short form, without processes, is in tests/gateway/following/test_leaders.py."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.serving import PLAIN, REQUEST_S, wait_until
from tests.serving.killed import open_stream
from tests.serving.many import MODEL, Many, OneServer
from tests.store.postgresql import create_schema, url_of_schema

RATE, AT_ONCE, SET_ASIDE = 10, 2, 6
"""What is allowed: requests a minute, at once, and those for which there is enough to set aside."""
ASKED = 30
"""Requests of each account, twice."""
BILLED = {"MODELYARD_BILLING_COUNTS": "inference", "MODELYARD_BILLING_RESERVE_S": "1", "MODELYARD_PRICE_PER_GB_S": "1"}
DEAD = 0
"""In place of a status: the server that was asked has died."""

pytestmark = pytest.mark.verify(part="ray")


@pytest.fixture
async def many(tmp_path: Path, postgresql_server: str) -> AsyncIterator[Many]:
    """Three servers, which bill requests."""
    many = Many(tmp_path, url_of_schema(postgresql_server, create_schema(postgresql_server)))
    many.environ |= BILLED
    try:
        await many.up(3, "node-0", "node-1")
        yield many
    finally:
        await many.close()


class Account:
    """One account, with a key."""

    def __init__(self, many: Many, name: str, rate_limit: int = 0) -> None:
        self._many = many
        self._name = name
        made = many.servers[0].client.post(
            "/admin/v1/keys", json={"name": "laptop", "account": name, "rateLimit": rate_limit}
        )
        self.key: str = made.json()["output"]["secret"]

    def limit(self, at_once: int) -> None:
        """Changes how many requests it may have at once."""
        self._change("PATCH", "limits", {"maxConcurrent": at_once})

    def pay(self, usd: str) -> None:
        """Adds to its credit."""
        self._change("POST", "credit", {"usd": usd})

    def _change(self, method: str, what: str, body: dict[str, Any]) -> None:
        answer = self._many.servers[0].client.request(method, f"/admin/v1/accounts/{self._name}/{what}", json=body)
        assert answer.status_code == 200, answer.text

    def run(self, server: OneServer) -> int:
        """The status of an inference."""
        url, headers = f"{server.url}/models/v2/{MODEL}", {"authorization": self.key}
        try:
            answer = httpx.post(url, json={"text": "a"}, headers=headers, timeout=REQUEST_S, verify=PLAIN)
        except httpx.HTTPError:
            return DEAD
        return answer.status_code

    def ask(self, pool: ThreadPoolExecutor, servers: Sequence[OneServer]) -> list[Future[int]]:
        """The same, ASKED times at once over these servers."""
        return [pool.submit(self.run, servers[number % len(servers)]) for number in range(ASKED)]


def outcomes(asked: Sequence[Future[int]]) -> Counter[int]:
    """Of those that are over, by status."""
    return Counter(each.result() for each in asked if each.done())


def set_aside_nano(many: Many) -> int:
    """For the one request that is under way and billed."""
    with psycopg.connect(many.database_url) as database:
        query = "SELECT reserved_nano FROM requests WHERE settled_at IS NULL AND reserved_nano > 0"
        ((found,),) = database.execute(query).fetchall()
    return int(found)


async def test_no_more_than_its_bound_passes_of_any_limit_over_a_change_of_leader(many: Many) -> None:
    leader = many.leader()
    others = [each for each in many.servers if each is not leader]
    quick, narrow, poor = Account(many, "quick", RATE), Account(many, "narrow"), Account(many, "poor")
    narrow.limit(0)
    poor.pay("1000")
    wait_until(lambda: narrow.run(others[0]) == 429)
    narrow.limit(AT_ONCE)
    wait_until(lambda: narrow.run(others[0]) == 200)
    streams = [open_stream(others[0], account.key)[0] for account in (narrow, poor)]  # who comes later waits
    halves = set_aside_nano(many) * (2 * SET_ASIDE + 1) // 2
    poor.pay(f"{halves / 10**9 - 1000:.9f}")

    with ThreadPoolExecutor(6 * ASKED) as pool:
        rated, narrowed, paid = (account.ask(pool, many.servers) for account in (quick, narrow, poor))
        wait_until(lambda: outcomes(rated).total() == ASKED)
        assert outcomes(rated) == {200: RATE, 429: ASKED - RATE}
        wait_until(lambda: outcomes(narrowed)[429] == ASKED - (AT_ONCE - 1))
        wait_until(lambda: outcomes(paid)[402] == ASKED - (SET_ASIDE - 1))

        leader.kill()
        wait_until(lambda: all(each.answers() for each in others))  # they follow the next one, and have told it
        rated, more, late = (account.ask(pool, others) for account in (quick, narrow, poor))
        wait_until(lambda: outcomes(rated).total() == ASKED)
        assert outcomes(rated) == {200: RATE, 429: ASKED - RATE}, "its minute once more"
        wait_until(lambda: outcomes(late)[402] == ASKED)
        wait_until(lambda: outcomes(more)[429] >= ASKED - (AT_ONCE - 1))
        for stream in streams:
            stream.close()
    assert outcomes(paid)[200] + outcomes(paid)[DEAD] == SET_ASIDE - 1
    assert outcomes(narrowed)[200] + outcomes(more)[200] == AT_ONCE - 1
