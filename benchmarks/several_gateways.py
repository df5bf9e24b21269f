"""What two gateways give over one, and cost: ECHO (the serving path without a model) with 64 clients, in turns.

Requests per second say what a machine's cores are used for; CPU time of all the server's processes but the worker, for
one request, says what it costs to follow. Replicas are idle most of the time: a batch of echoes takes no time.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.models import cache_dir
from benchmarks.peers import models
from benchmarks.peers.environments import ensure_echo
from benchmarks.peers.load import Address, Load, client_name, load
from benchmarks.report import ratio, rounds, spread

MODEL = "bench/echo"
ROUNDS = rounds(15)
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
CLIENTS = 64
GATEWAYS = (1, 2)
ROOT = Path(__file__).parents[1]
LEAST = 1.3
"""What two gateways on two cores are to give of one's requests per second, at least."""


@dataclass(frozen=True, slots=True)
class Side:
    """One server. `processes`: all of it but what holds models."""

    address: Address
    processes: tuple[psutil.Process, ...]

    def cpu_us(self) -> float:
        """CPU time of these, so far."""
        times = [each.cpu_times() for each in self.processes]
        return 1e6 * sum(each.user + each.system for each in times)


def run() -> bool:
    """Prints both; whether two give as much as is promised."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        sides = [stack.enter_context(serve(Path(folder) / str(count), "--gateways", str(count))) for count in GATEWAYS]
        rates: list[list[float]] = [[] for _ in sides]
        costs: list[list[float]] = [[] for _ in sides]
        wanted = Load(('{"text": "' + models.SENTENCE + '"}',), CLIENTS, SECONDS)
        for _ in range(ROUNDS):
            for side, side_rates, side_costs in zip(sides, rates, costs, strict=True):
                before = side.cpu_us()
                figures = load(side.address, wanted)
                side_rates.append(figures.rate)
                side_costs.append((side.cpu_us() - before) / (figures.rate * SECONDS))
    for count, side_rates, side_costs in zip(GATEWAYS, rates, costs, strict=True):
        print(f"{count} gateways, by {client_name():22} {spread(side_rates, 'requests/s')}")
        print(f"{count} gateways, CPU time for one request {spread(side_costs, 'us')}")
    ratio("CPU time for one request, 2 gateways / 1", costs[1], costs[0])
    return ratio("requests/s, 2 gateways / 1", rates[1], rates[0], at_least=LEAST)


@contextmanager
def serve(folder: Path, *flags: str, sources: Sequence[Path] = ()) -> Iterator[Side]:
    """A server with one replica, until the end of the block. `sources`: folders that it imports from first."""
    from tests.serving import KEY, Server, program_of

    target = cache_dir() / MODEL
    if not target.exists():
        target.mkdir(parents=True)
        models.echo(target)
    folder.mkdir()
    source = os.pathsep.join(map(str, [*sources, ROOT / "src", ensure_echo()]))
    with Server(folder, cache_dir(), "--rate-limit", "0", *flags, PYTHONPATH=source) as server:
        assert server.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1}).is_success
        server.wait_for(MODEL, ready=1)
        assert server.process is not None
        own = [each for each in server.descendants() if "modelyard.serving.gateway_process" in program_of(each)]
        processes = (psutil.Process(server.process.pid), *own)
        yield Side(Address(server.port, f"/models/v2/{MODEL}", KEY), processes)
