"""One run: a server under load, disturbed for some time, then left alone; and what must hold at its end."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.attacks.memory import MIB
from tests.attacks.test_strangers import add_account
from tests.builders import build
from tests.chaos.disturbances import DISTURBANCES, PICTURES, Scene, plan, wait_until_answered
from tests.chaos.lives import Lives, watched
from tests.chaos.load import CHANGED, PLAIN, STREAMED, Load, Outcomes, Spell
from tests.chaos.server import HOST
from tests.media.hosts import Host, file, redirect
from tests.serving import Server, wait_until

MODELS = {PLAIN: "bert_classifier", STREAMED: "gpt2", CHANGED: "bert_encoder", PICTURES: "vit_classifier"}
ACCOUNTS = ("ada", "eve")
REPOSITORY = Path(__file__).parents[2]
TERMS = {
    "MODELYARD_BILLING_COUNTS": "ready", "MODELYARD_BILLING_MINIMUM_S": "0", "MODELYARD_BILLING_ROUND_S": "0",
    "MODELYARD_JOB_BILLING": "on", "MODELYARD_JOB_BENCHMARK_S": "2", "MODELYARD_DRAIN_S": "20",
    "MODELYARD_REQUEST_TIMEOUT_S": "100",
}  # fmt: skip
"""What is billed is what instances lived from ready on, to the second, those of jobs too."""
HEARTBEAT_S = 10.0
LATE_S = 2.0
"""By how much later than it is due a busy machine runs a heartbeat."""
NOTICED_S = 1.0
"""For each instance: from the end of its process to when that is noticed."""
UNWRITTEN = 30
"""Requests whose end a server that is killed has not written down: those of its last moment."""
BOOT_S = 8.0
"""For each process: what it takes at most until it is ready, on a busy machine; that is not billed."""
REST_S = (0.5, 3.0)
"""Between two disturbances."""
MOST_KEPT_BYTES = 80 * MIB


@dataclass
class Run:
    """What was done, and what there was at the end. `seed` makes the same plan again."""

    seed: int
    done: Counter[str] = field(default_factory=Counter)
    outcomes: Outcomes = field(default_factory=Outcomes)
    lives: Lives = field(default_factory=Lives)
    kills: list[int] = field(default_factory=list)
    """For each end of the server that it did not choose: how many workers lived."""
    left: dict[str, int] = field(default_factory=dict)
    bill: dict[str, dict[str, Any]] = field(default_factory=dict)
    lines: list[dict[str, Any]] = field(default_factory=list)
    fresh_bytes: int = 0
    held_bytes: int = 0
    secret_seen: int = 0
    seconds: float = 0.0

    note: Callable[[str], None] = str
    """Is told of each disturbance when it begins."""

    def billed_s(self) -> float:
        return float(sum(line["billedSeconds"] for line in self.lines))

    def bounds_s(self) -> tuple[float, float]:
        """The least and the most that the bill may be, given what was lived."""
        lived, at_kills = self.lives.total_s(), sum(self.kills) * (HEARTBEAT_S + LATE_S)
        return lived - at_kills - len(self.lives.seen) * BOOT_S, lived + at_kills + len(self.lines) * NOTICED_S

    def problems(self) -> Iterator[str]:
        """What does not hold."""
        for lost in self.outcomes.lost:
            yield f"lost: {lost}"
        if any(self.left.values()):
            yield f"left: {self.left}"
        least_s, most_s = self.bounds_s()
        if not least_s <= self.billed_s() <= most_s:
            yield f"the bill is {self.billed_s():.1f} s, it may be {least_s:.1f} to {most_s:.1f} s"
        if len({line["instanceId"] for line in self.lines}) != len(self.lines):
            yield "an instance is billed twice"
        for name, total in self.bill.items():
            answered, asked = self.outcomes.answered[name], self.outcomes.inferences[name]
            if not answered - len(self.kills) * UNWRITTEN <= total["requests"] <= asked:
                yield f"{name} asked {asked} times, was answered {answered} times, and pays for {total['requests']}"
        if self.held_bytes > self.fresh_bytes + MOST_KEPT_BYTES:
            yield f"the server holds {self.held_bytes // MIB} MiB, it began with {self.fresh_bytes // MIB} MiB"
        if self.secret_seen:
            yield f"a client made the server ask this machine {self.secret_seen} times"

    def words(self) -> Iterator[str]:
        """The run in words."""
        yield f"seed          {self.seed}, {self.seconds:.0f} s"
        yield "disturbances  " + ", ".join(f"{name} {count}" for name, count in sorted(self.done.items()))
        for what, count in sorted(self.outcomes.counts.items()):
            yield f"requests      {count:6} {what}"
        yield f"requests lost {len(self.outcomes.lost)}"
        yield "left over     " + ", ".join(f"{name} {count}" for name, count in self.left.items())
        least_s, most_s = self.bounds_s()
        yield f"bill          {self.billed_s():.1f} s of {len(self.lines)} instances, from ready on"
        yield f"              {self.lives.total_s():.1f} s lived in {len(self.lives.seen)} processes, boots included"
        yield f"              {least_s:.1f} to {most_s:.1f} s may be billed: {len(self.kills)} ends of the server, with"
        yield f"              {sum(self.kills)} workers in all"
        for name, total in self.bill.items():
            answered, asked = self.outcomes.answered[name], self.outcomes.inferences[name]
            yield f"billed once   {total['requests']} inferences of {name}, who was answered {answered} of {asked}"
        yield f"memory        {self.fresh_bytes // MIB} MiB at first, {self.lives.most_bytes // MIB} MiB at most,"
        yield f"              {self.held_bytes // MIB} MiB at the end"
        yield f"own hosts     asked {self.secret_seen} times through names that were rebound or redirected"


def disturb(
    folder: Path,
    seed: int,
    seconds: float,
    hold_s: float = 3.0,
    kinds: Sequence[str] | None = None,
    note: Callable[[str], None] = str,
) -> Run:
    """Runs a server with load for some time. `hold_s`: for how long something is held or
    frozen; `kinds`: what is done, in this order and once, else by the seed's plan."""
    for model, family in MODELS.items():
        build(family, folder / "models" / model)
    clock = folder / "clock"
    clock.write_text("0")
    run = Run(seed, note=note)
    with ExitStack() as stack:
        secret = stack.enter_context(Host(file(b"secret")))
        redirecting = stack.enter_context(Host(redirect(f"http://{HOST}:{secret.port}/a.png")))
        server = open_server(folder, CHAOS_CLOCK=str(clock), CHAOS_PORT=str(redirecting.port))
        stack.enter_context(server)
        clients = {name: stack.enter_context(add_account(server, name)) for name in ACCOUNTS}
        draw = random.Random(seed)
        scene = Scene(server, draw, clock, redirecting, secret, hold_s)
        run.lives = stack.enter_context(watched(server))
        load = Load(server, clients, seed)
        run.outcomes = load.outcomes
        prepare(server, clients, run.outcomes)
        run.fresh_bytes = held_bytes(server)
        begun = time.monotonic()
        with load.running():
            for kind in kinds or plan(random.Random(seed)):
                if kinds is None and time.monotonic() - begun > seconds:
                    break
                do(kind, scene, load, run)
                time.sleep(draw.uniform(*REST_S))
            clock.write_text("0")
            wait_until_answered(server)
        run.seconds = time.monotonic() - begun
        settle(server, clients, run)
        run.secret_seen = len(secret.requests)
    return run


def open_server(folder: Path, **environ: str) -> Server:
    """A server whose clock and resolver can be turned."""
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "src")])
    server = Server(folder, folder / "models", PYTHONPATH=path, **TERMS, **environ)
    server._command[2] = "tests.chaos.server"
    return server


def prepare(server: Server, clients: dict[str, httpx.Client], outcomes: Outcomes) -> None:
    """Everybody's models run."""
    for name, client in clients.items():
        for model in (PLAIN, STREAMED):
            client.put(f"/models/v2/{model}", json={"capacity": {"min": 1, "desired": 1, "max": 2}})
            assert client.post(f"/models/v2/{model}", json={"text": "the cat"}).status_code == 200
        outcomes.inferences[name] += 2
        outcomes.answered[name] += 2
    wait_until_answered(server)


def do(kind: str, scene: Scene, load: Load, run: Run) -> None:
    """One disturbance, known to the load as long as it lasts."""
    disturbance = DISTURBANCES[kind]
    process = scene.server.process
    assert process is not None
    assert process.poll() is None, f"the server has ended by itself, with status {process.poll()}"
    run.note(kind)
    spell = Spell(disturbance.refuses, disturbance.breaks_streams, disturbance.ends_server, time.monotonic())
    load.spells.append(spell)
    alive = run.lives.alive_at(time.time())
    found = disturbance.work(scene)
    spell.ended = time.monotonic()
    run.done[kind if found else f"{kind}: none there"] += 1
    if disturbance.ends_server:
        run.kills.append(alive)


def settle(server: Server, clients: dict[str, httpx.Client], run: Run) -> None:
    """Waits until nothing is under way, and reads what there is then."""
    everybody = [*clients.values(), server.client]
    for client in everybody:
        for cluster in client.get("/models/v2/list/clusters").json()["output"]:
            client.delete(f"/models/v2/{cluster['modelId']}")
    wait_until(lambda: not any(counters(server).values()), 120.0, 0.2)
    wait_until(lambda: server.worker_pids() == [], 120.0, 0.2)
    run.left = counters(server)
    for client in everybody:
        run.lines += wait_until(lambda client=client: closed_lines(client), 60.0, 0.5) or []
    run.bill = {name: usage(client)["total"] for name, client in clients.items()}
    run.held_bytes = held_bytes(server)


def counters(server: Server) -> dict[str, int]:
    """What the operator is told is under way."""
    health = server.client.get("/health").json()
    return {name: int(health[name]) for name in ("underWay", "inFlight", "queued")}


def closed_lines(client: httpx.Client) -> list[dict[str, Any]] | None:
    """The lines of its bill, once none of them goes on."""
    lines = usage(client, lines="true")["lines"]
    return None if any(line["open"] for line in lines) else lines or [{}]


def usage(client: httpx.Client, **query: str) -> dict[str, Any]:
    answer = client.get("/models/v2/usage", params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["output"])


def held_bytes(server: Server) -> int:
    assert server.process is not None
    return int(psutil.Process(server.process.pid).memory_info().rss)
