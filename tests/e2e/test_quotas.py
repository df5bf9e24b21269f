"""Quotas and rate limits over HTTP: each refuses what it must and nothing else, can be lifted, and counts exactly."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.loadgen import encode, encode_to, read_head, run_together
from tests.serving import ENDLESS, REQUEST_S, Server, wait_until

SHORT = {"max_new_tokens": 3, "do_sample": False}
LONG = {"max_new_tokens": 110, "min_new_tokens": 110, "do_sample": False}
LIMITS = {
    "models": ["--max-models", "1"],
    "instances": ["--max-instances", "1"],
    "memory": ["--max-memory-gb", "0.01"],
    "concurrent": ["--max-concurrent", "2"],
    "rates": [],
}
"""Accounts by what is limited of them."""


@dataclass
class Caller:
    """One account's client."""

    key: str
    client: httpx.Client

    def post(self, model_id: str, **body: Any) -> httpx.Response:
        return self.client.post(f"/models/v2/{model_id}", json=body)

    def put(self, model_id: str, **body: Any) -> httpx.Response:
        return self.client.put(f"/models/v2/{model_id}", json=body)

    def v1(self, call: str, **body: Any) -> httpx.Response:
        return self.client.post(f"/model/{call}", json=body)

    def ready(self, model_id: str) -> int:
        response = self.client.get(f"/models/v2/{model_id}")
        return int(response.json()["output"]["ready"])

    def events(self, model_id: str) -> str:
        return " | ".join(each["message"] for each in self.client.get(f"/models/v2/events/{model_id}").json()["output"])


class LimitedServer:
    """A server and the commands of the machine it runs on."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.callers: dict[str, Caller] = {}

    def command(self, *words: str) -> str:
        """Runs `modelyard ...` on the server's data folder; its output."""
        return self.server.command(*words)

    def key(self, account: str, *flags: str) -> str:
        """A new key of an account."""
        return self.command("keys", "create", "test", "--account", account, *flags)

    def health(self) -> tuple[int, int, int]:
        """Inferences under way, on replicas, and in queues."""
        health = self.server.client.get("/health").json()
        return health["underWay"], health["inFlight"], health["queued"]


@pytest.fixture(scope="module")
def limited(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LimitedServer]:
    """A server that has found its accounts limited when it started."""
    with ExitStack() as stack:
        server = Server(tmp_path_factory.mktemp("quotas"), zoo)
        limited = LimitedServer(server)
        for account, limits in LIMITS.items():
            limited.command("accounts", "create", account)
            if limits:
                limited.command("accounts", "set", account, *limits)
            key = limited.key(account)
            limited.callers[account] = Caller(key, stack.enter_context(server.client_of(key)))
        stack.enter_context(server)
        yield limited


@contextmanager
def half_sent(port: int, request: bytes) -> Iterator[socket.socket]:
    """A request whose body does not come to its end; the client leaves with the block."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request[:-1])
        yield connection


def test_one_model_too_many_is_refused_on_every_way_in_until_the_limit_is_lifted(limited: LimitedServer):
    caller = limited.callers["models"]
    assert caller.put("tiny/classifier").status_code == 202
    for response in (
        caller.put("tiny/gpt2"),
        caller.post("tiny/gpt2", text="a"),
        caller.v1("load", model="tiny/gpt2", concurrency=1),
    ):
        assert response.status_code == 403, response.text
        assert "limited to 1, and there are 1: tiny/classifier" in response.json()["error"]
        assert "retry-after" not in response.headers
    assert caller.post("tiny/classifier", text="still mine").status_code == 200
    assert caller.put("tiny/classifier", timeout=60).status_code == 202
    limited.command("accounts", "set", "models", "--max-models", "none")
    wait_until(lambda: caller.put("tiny/gpt2").status_code == 202)


def test_one_instance_at_a_time_takes_turns_until_the_limit_is_lifted(limited: LimitedServer):
    caller = limited.callers["instances"]
    refusal = caller.put("tiny/classifier", capacity={"min": 2, "desired": 2, "max": 2})
    assert refusal.status_code == 422
    assert "capacity.min: got 2; accepted: at most 1: your account may hold 1 instance" in refusal.json()["error"]
    assert caller.post("tiny/classifier", text="first").status_code == 200
    assert caller.post("tiny/mlm", text="second [MASK]").status_code == 200
    assert (caller.ready("tiny/classifier"), caller.ready("tiny/mlm")) == (0, 1)
    assert "waiting for tiny/classifier to leave: your account may hold 1 instance at once" in caller.events("tiny/mlm")
    limited.command("accounts", "set", "instances", "--max-instances", "2")

    def both_stay() -> bool:
        assert caller.post("tiny/classifier", text="a").status_code == 200
        assert caller.post("tiny/mlm", text="a [MASK]").status_code == 200
        return caller.ready("tiny/classifier") + caller.ready("tiny/mlm") == 2

    wait_until(both_stay)


def test_a_model_above_the_accounts_memory_is_refused_at_once_until_the_limit_is_lifted(limited: LimitedServer):
    caller = limited.callers["memory"]
    response = caller.post("tiny/classifier", text="a")
    assert response.status_code == 503
    assert "but your account may hold 10 MB at once" in response.json()["error"]
    limited.command("accounts", "set", "memory", "--max-memory-gb", "4")

    def works() -> bool:
        caller.put("tiny/classifier")  # a new try
        return caller.post("tiny/classifier", text="a").is_success

    wait_until(works)


def test_requests_at_once_are_counted_from_admission_to_the_end_on_both_surfaces(limited: LimitedServer):
    caller, port = limited.callers["concurrent"], limited.server.port
    assert caller.v1("load", model="tiny/gpt2").status_code == 200
    assert caller.post("tiny/gpt2", text="warm", params=SHORT).status_code == 200
    body = {"model": "tiny/gpt2", "text": "a"}
    v1 = encode_to("/model/run", body, caller.key)
    with half_sent(port, encode("tiny/gpt2", {"text": "a"}, caller.key)):
        with half_sent(port, v1):
            wait_until(lambda: limited.health() == (2, 0, 0))
            for response in (
                caller.post("tiny/gpt2", text="a", stream=True),
                caller.post("tiny/gpt2", text="a"),
                caller.v1("run", **body),
                caller.v1("run", **body, stream=True),
            ):
                assert response.status_code == 429
                assert "limited to 2, and there are 2" in response.json()["error"]
                assert response.headers["retry-after"] == "1"
            assert limited.health() == (2, 0, 0)
        wait_until(lambda: limited.health() == (1, 0, 0))  # one client has left
        for _ in range(3):
            assert caller.post("tiny/gpt2", text="a", params=SHORT).status_code == 200
            assert caller.v1("run", **body, params=SHORT).status_code == 200
        assert caller.post("tiny/t5", text="warm", params=SHORT).status_code == 200
        model_id, endless = ENDLESS
        stream = {"text": "a", "stream": True, "params": endless}
        with caller.client.stream("POST", f"/models/v2/{model_id}", json=stream) as streamed:
            pieces = streamed.iter_raw()
            assert next(pieces)
            assert limited.health() == (2, 1, 0)
            assert caller.post("tiny/gpt2", text="a").status_code == 429, "a stream counts until it ends"
    wait_until(lambda: limited.health() == (0, 0, 0))
    assert caller.post("tiny/gpt2", text="a", params={"wrong": 1}).status_code == 422
    assert limited.health() == (0, 0, 0)
    limited.command("accounts", "set", "concurrent", "--max-concurrent", "none")
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(half_sent(port, v1))
        wait_until(lambda: caller.post("tiny/gpt2", text="a", params=SHORT).status_code == 200)
    wait_until(lambda: limited.health() == (0, 0, 0))


def test_a_keys_rate_holds_on_both_surfaces_and_before_the_body_and_can_be_changed(limited: LimitedServer):
    assert limited.callers["rates"].post("tiny/classifier", text="so that it is loaded").status_code == 200
    key = limited.key("rates", "--rate-limit", "3")
    body = {"text": "a", "model": "tiny/classifier"}
    with httpx.Client(base_url=limited.server.url, headers={"authorization": key}, timeout=REQUEST_S) as client:
        caller = Caller(key, client)
        counted = [caller.post("tiny/classifier", text="a"), caller.v1("run", **body), caller.post("no/such", text="a")]
        assert [each.status_code for each in counted] == [200, 200, 404]
        assert [each.headers["ratelimit-remaining"] for each in counted] == ["2", "1", "0"]
        for refused in (caller.post("tiny/classifier", text="a"), caller.v1("run", **body)):
            assert (refused.status_code, refused.headers["ratelimit-limit"]) == (429, "3")
            assert refused.headers["ratelimit-remaining"] == "0"
            assert 1 <= int(refused.headers["retry-after"]) == int(refused.headers["ratelimit-reset"]) <= 60
            assert "3 requests per minute" in refused.json()["error"]
        with half_sent(limited.server.port, encode("tiny/classifier", body, key)) as connection:
            assert connection.recv(65536).startswith(b"HTTP/1.1 429"), "the body was waited for"
        assert client.get("/models/v2/list/clusters").status_code == 200, "only inference is counted"

        limited.command("keys", "set", key[:8], "--rate-limit", "0")
        wait_until(lambda: caller.post("tiny/classifier", text="a").headers["ratelimit-limit"] == "1000000")
        assert caller.post("tiny/classifier", text="a").status_code == 200


# --- all at once ---


@dataclass
class Load:
    """One key's requests and what became of them. `limit` None: as many as it likes."""

    key: str
    limit: int | None
    requests: int
    connections: int
    leaves: bool = True
    statuses: list[int] = field(default_factory=list)
    remaining: list[int] = field(default_factory=list)
    left: int = 0

    async def run(self, port: int, chance: random.Random) -> None:
        """Makes all requests; two of five clients leave, if any do."""
        numbers = iter(range(self.requests))

        async def work() -> None:
            connection = await asyncio.open_connection("127.0.0.1", port)
            for number in numbers:
                leaving = self.leaves and number % 5 in (0, 2)
                blind = leaving and self.limit is None and number % 2 == 0
                if not await (self.leave_blindly if blind else self.ask)(*connection, leaving, chance):
                    connection = await asyncio.open_connection("127.0.0.1", port)
            connection[1].close()
            await connection[1].wait_closed()

        await asyncio.gather(*(work() for _ in range(self.connections)))

    async def ask(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, leaving: bool, chance: random.Random
    ) -> bool:
        """One request; who is leaving hangs up in the middle of the answer. Whether the connection can be used on."""
        writer.write(
            encode("tiny/gpt2", {"text": "a", "stream": leaving, "params": LONG if leaving else SHORT}, self.key)
        )
        status, headers = await read_head(reader)
        self.statuses.append(status)
        if status == 200:
            self.remaining.append(int(headers["ratelimit-remaining"]))
        if leaving and status == 200:
            self.left += 1
            writer.transport.abort()
            return False
        await reader.readexactly(int(headers["content-length"]))
        return True

    async def leave_blindly(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, leaving: bool, chance: random.Random
    ) -> bool:
        """One request whose client hangs up at a random moment, whatever the server is doing."""
        writer.write(encode("tiny/gpt2", {"text": "a", "params": LONG}, self.key))
        try:
            async with asyncio.timeout(chance.uniform(0, 0.1)):
                self.statuses.append((await read_head(reader))[0])
        except TimeoutError:
            self.left += 1
        writer.transport.abort()
        return False


@pytest.mark.parametrize("requests", [500, pytest.param(1000, marks=pytest.mark.verify(part="load"))])
def test_requests_of_limited_and_unlimited_keys_are_counted_exactly(limited: LimitedServer, requests: int):
    fifth, tenth = requests // 5, requests // 10
    limited.command("accounts", "create", "dee")
    limited.command("accounts", "set", "dee", "--max-concurrent", "8")
    loads = [
        Load(limited.key("ada", "--rate-limit", "40"), 40, fifth, 12),
        Load(limited.key("bob", "--rate-limit", "90"), 90, fifth, 12),
        Load(limited.key("cho", "--rate-limit", "0"), None, fifth, 12),
        Load(limited.key("dee"), None, fifth, 8, leaves=False),  # just as many at once as it may: never too many
        Load(limited.key("eve", "--rate-limit", "25"), 25, tenth, 6),
        Load(limited.key("eve"), None, tenth, 6),
    ]
    for load in loads:
        headers = {"authorization": load.key}
        assert (
            httpx.put(
                f"{limited.server.url}/models/v2/tiny/gpt2", headers=headers, json={}, timeout=REQUEST_S
            ).status_code
            == 202
        )

    chance, begun = random.Random(3), time.monotonic()
    run_together(load.run(limited.server.port, chance) for load in loads)
    minutes = math.ceil((time.monotonic() - begun) / 60)  # one, unless the machine is very busy
    assert sum(load.requests for load in loads) == requests
    for load in loads:
        if load.limit is None:
            assert set(load.statuses) == {200}
        else:
            assert load.limit <= load.statuses.count(200) <= minutes * load.limit
            assert load.statuses.count(200) + load.statuses.count(429) == load.requests
            told = Counter(load.remaining)
            assert set(told) == set(range(load.limit)), "each was told what was left after it"
            assert max(told.values()) <= minutes
    assert sum(load.left for load in loads) >= tenth
    wait_until(lambda: limited.health() == (0, 0, 0))
