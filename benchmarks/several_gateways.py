"""What several gateways give over one, and cost: ECHO (the serving path without a model) with 64 clients, in turns.

Requests per second say what a machine's cores are used for; CPU time of all the server's processes but the worker, for
one request, says what it costs to follow. What the machine could give at most is reckoned beside it: all its cores, at
what one gateway, the worker and the client take for a request. Replicas are idle most of the time: a batch of echoes
takes no time.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from benchmarks.models import cache_dir
from benchmarks.peers import models
from benchmarks.peers.environments import ensure_echo
from benchmarks.peers.load import Address, Load, client_name, load
from benchmarks.report import at_most, ratio, rounds, spread

MODEL = "bench/echo"
ROUNDS = rounds(15)
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
CLIENTS = 64
CORES = len(os.sched_getaffinity(0))
GATEWAYS = (1, 2, 4) if CORES >= 8 else (1, 2)
ROOT = Path(__file__).parents[1]
LEAST = 1.3
"""What two gateways on two cores are to give of one's requests per second, at least."""
MOST_US = 75.0
"""What a request is to take of two gateways and the process that they follow, at most."""


@dataclass(frozen=True, slots=True)
class Side:
    """One server. `processes`: all of it but what holds models; `others`: those. `rates`: requests per second;
    `costs`, `elsewhere`: CPU time for one request, in microseconds, of these and of those with the client."""

    address: Address
    processes: Sequence[psutil.Process]
    others: Sequence[psutil.Process]
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)
    elsewhere: list[float] = field(default_factory=list)

    def cpu_us(self) -> float:
        """CPU time of its processes, so far."""
        return cpu_us(self.processes)

    def take_round(self, wanted: Load) -> None:
        """Loads it once."""
        before_us, before_elsewhere_us = self.cpu_us(), cpu_us(self.others) + children_us()
        rate = load(self.address, wanted).rate
        requests = rate * wanted.seconds
        self.rates.append(rate)
        self.costs.append((self.cpu_us() - before_us) / requests)
        self.elsewhere.append((cpu_us(self.others) + children_us() - before_elsewhere_us) / requests)


def run() -> bool:
    """Prints all; whether two give as much, and take as little, as is promised."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sides = [stack.enter_context(serve(Path(folder) / str(count), "--gateways", str(count))) for count in GATEWAYS]
        wanted = Load(('{"text": "' + models.SENTENCE + '"}',), CLIENTS, SECONDS)
        for _ in range(ROUNDS):
            for side in sides:
                side.take_round(wanted)
    for count, side in zip(GATEWAYS, sides, strict=True):
        print(f"{count} gateways, by {client_name():22} {spread(side.rates, 'requests/s')}")
        print(f"{count} gateways, CPU time for one request {spread(side.costs, 'us')}")
    one, *more = sides
    for count, side in zip(GATEWAYS[1:], more, strict=True):
        ratio(f"CPU time for one request, {count} gateways / 1", side.costs, one.costs)
        print_most(count, one, side)
    two = more[0]
    kept = at_most("CPU time for one request, 2 gateways", median(two.costs), MOST_US, "us")
    return ratio("requests/s, 2 gateways / 1", two.rates, one.rates, at_least=LEAST) and kept


def print_most(count: int, one: Side, side: Side) -> None:
    """What this machine could give with so many gateways, if they took no more for a request than one does, and if
    they take what they do; a gateway is a thread, which fills one core."""
    others_us = median(one.elsewhere)
    print(f"{'worker and client, CPU time for one request':44} {others_us:8.1f} us")
    for words, cost_us in (("as one", median(one.costs)), ("as it is", median(side.costs))):
        most = 1e6 * CORES / (cost_us + others_us)
        print(
            f"{count} gateways at most, each {words:16} {most:8.0f} requests/s: {CORES} cores / "
            f"({cost_us:.1f} + {others_us:.1f}) us, {most / median(one.rates):.2f} x what 1 gives"
        )


def cpu_us(processes: Sequence[psutil.Process]) -> float:
    """CPU time of these so far."""
    times = [each.cpu_times() for each in processes]
    return 1e6 * sum(each.user + each.system for each in times)


def children_us() -> float:
    """CPU time of the clients that have ended: each is a process of its own."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1e6 * (used.ru_utime + used.ru_stime)


@contextmanager
def serve(folder: Path, *flags: str) -> Iterator[Side]:
    """A server with one replica, until the end of the block."""
    from tests.serving import KEY, Server, program_of

    target = cache_dir() / MODEL
    if not target.exists():
        target.mkdir(parents=True)
        models.echo(target)
    folder.mkdir()
    source = os.pathsep.join([str(ROOT / "src"), str(ensure_echo())])
    with Server(folder, cache_dir(), "--rate-limit", "0", *flags, PYTHONPATH=source) as server:
        assert server.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1}).is_success
        server.wait_for(MODEL, ready=1)
        assert server.process is not None
        below = server.descendants()
        own = [each for each in below if "modelyard.serving.gateway_process" in program_of(each)]
        others = [each for each in below if each not in own]
        address = Address(server.port, f"/models/v2/{MODEL}", KEY)
        yield Side(address, (psutil.Process(server.process.pid), *own), others)
