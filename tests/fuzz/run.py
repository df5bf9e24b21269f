"""One run: a server that has models, every operation called, and what must hold at its end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import httpx
import psutil

from tests.attacks.memory import MIB, Cost, measured
from tests.attacks.test_strangers import add_account
from tests.fuzz.calls import Called, call_all
from tests.serving import Server, wait_until

QUOTA = 4
"""Instances that the account which calls may have at once: what is drawn asks for more."""
MOST_BYTES = 160 * MIB
IDLE_S = 600.0
STALL_S = 15.0
"""What anybody's request may take on a machine that does nothing else; they take milliseconds."""


@dataclass
class Run:
    """What was called and what it cost the server; `seed` makes the same calls again."""

    seed: int
    called: Called
    cost: Cost
    left: tuple[int, int]
    """Requests in flight and queued once all calls were over."""
    lives: bool
    stall_s: float
    """See STALL_S."""

    def problems(self) -> Iterator[str]:
        """What does not hold."""
        yield from map(str, self.called.findings)
        if self.left != (0, 0):
            yield f"{self.left[0]} requests are still in flight, {self.left[1]} queued"
        if not self.lives:
            yield "the server is not alive"
        if self.cost.most_bytes > MOST_BYTES:
            yield f"the server took {self.cost.most_bytes // MIB} MiB, at most {MOST_BYTES // MIB} are accepted"
        if max(self.cost.waits_s, default=0.0) > self.stall_s:
            yield f"a request waited {max(self.cost.waits_s):.1f} s, at most {self.stall_s} are accepted"

    def lines(self) -> Iterator[str]:
        """The run in words."""
        statuses = ", ".join(f"{status}: {count}" for status, count in sorted(self.called.statuses.items()))
        yield f"seed        {self.seed}"
        yield f"operations  {len(self.called.operations)}"
        yield f"calls       {self.called.operations.total()} ({statuses})"
        yield f"memory      +{self.cost.most_bytes // MIB} MiB at most"
        yield f"CPU         {self.cost.cpu_s:.1f} s of the server"
        yield f"stall       {max(self.cost.waits_s, default=0.0):.2f} s, the longest wait for /health meanwhile"
        yield f"left over   {self.left[0]} in flight, {self.left[1]} queued"


def fuzz_calls(server: Server, models: Sequence[str], seed: int, examples: int, stall_s: float = STALL_S) -> Run:
    """Calls everything with an account of its own, which can ask for the given models."""
    with add_account(server, f"fuzz{seed}") as client:
        server.command("accounts", "set", f"fuzz{seed}", "--max-instances", str(QUOTA))
        wait_until(lambda: is_refused(client, models[0]))
        client.delete(f"/models/v2/{models[0]}")
        key = client.headers["authorization"].removeprefix("Key ")
        with measured(server) as cost:
            called = call_all(server, key, known_names(client, models), seed, examples)
        for model in models:
            client.delete(f"/models/v2/{model}")
        left = wait_until_idle(server)
    assert server.process is not None
    lives = server.process.poll() is None and psutil.Process(server.process.pid).is_running()
    return Run(seed, called, cost, left, lives, stall_s)


def wait_until_idle(server: Server) -> tuple[int, int]:
    """Requests in flight and queued once there are none, or after a while that is longer than the jobs take that were
    asked for: a benchmark's requests are counted too, and each may go on for a minute."""
    end = time.monotonic() + IDLE_S
    while (left := server.load()) != (0, 0) and time.monotonic() < end:
        time.sleep(0.1)
    return left


def is_refused(client: httpx.Client, model: str) -> bool:
    """Whether the quota is in force: a server reads it every few seconds."""
    return client.put(f"/models/v2/{model}", json={"capacity": {"min": QUOTA + 1}}).status_code != 202


def known_names(client: httpx.Client, models: Sequence[str]) -> dict[str, list[str]]:
    """Values of parameters that lead to something: a body names a model whole, a path in two parts."""
    tasks = client.get("/models/v2/list/tasks").json()["output"]
    answer = client.post(f"/models/v2/{models[0]}", json={"text": "hello"})
    return {
        "provider": ["openai", "openrouter"],
        "org": sorted({model.partition("/")[0] for model in models}),
        "model": [model.partition("/")[2] for model in models] + list(models),
        "task": [task if isinstance(task, str) else next(iter(task.values())) for task in tasks],
        "request_id": [answer.headers["x-request-id"]],
    }
