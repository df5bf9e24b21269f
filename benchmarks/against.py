"""This checkout against another one, side by side in one run: CPU seconds and wall time of requests and cold boots.

Both servers run all the time; rounds alternate between them, and which one begins alternates too. MODELYARD_AGAINST
names the src folder of the other checkout.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import psutil

from benchmarks.models import ensure_model
from benchmarks.report import at_most, interval, rounds
from tests.e2e.loadgen import post_each
from tests.serving import Server

SOURCE = Path(__file__).parents[1] / "src"
MODEL = "bench/classifier"
BOOTED = "bench/gpt2-124m"
TEXT = "the cat sat on the mat and looked at the dog"
PAIRS = rounds(25)
REQUESTS = {1: 400, 64: 1600}
BOOTS = 2
MOST_UPPER_END = 1.05
"""Of the interval of what one request or boot costs, as a multiple of the other checkout's."""

Cost = tuple[float, float]
"""CPU seconds of the server and all its processes, wall seconds."""


def run() -> bool:
    """Prints the ratio of each figure with its 95 % interval."""
    other = os.environ.get("MODELYARD_AGAINST")
    if not other:
        print("not run: MODELYARD_AGAINST must name the src folder of another checkout")
        return True
    models = ensure_model(MODEL, "bert_classifier")
    ensure_model(BOOTED, "gpt2_124m")
    with ExitStack() as stack:
        ours, theirs = (start(stack, models, source) for source in (str(SOURCE), other))
        kept = True
        for connections, count in REQUESTS.items():
            name = f"request, {connections} client{'s' * (connections > 1)}"
            kept &= compare(name, ours, theirs, lambda server, n=connections, c=count: post(server, n, c))
        kept &= compare("cold boot, PUT to first answer", ours, theirs, boot)
    return kept


def start(stack: ExitStack, models: Path, source: str) -> Server:
    """A server that runs the code in `source`, with the classifier loaded."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    server = stack.enter_context(Server(folder, models, "--rate-limit", "0", PYTHONPATH=source))
    server.run(MODEL, text=TEXT)
    boot(server)
    return server


def compare(name: str, ours: Server, theirs: Server, work: Callable[[Server], None]) -> bool:
    """Runs `work` on both in turn and prints the ratios ours / theirs; whether the CPU's upper end is within bounds."""
    pairs: list[tuple[Cost, Cost]] = []
    for turn in range(PAIRS):
        order = (ours, theirs) if turn % 2 else (theirs, ours)
        costs = {server.port: cost(server, work) for server in order}
        pairs.append((costs[ours.port], costs[theirs.port]))
    upper = report(f"{name}, CPU", [a[0] / b[0] for a, b in pairs])
    report(f"{name}, wall", [a[1] / b[1] for a, b in pairs])
    return at_most(f"{name}, CPU, upper end", upper, MOST_UPPER_END, "x")


def post(server: Server, connections: int, count: int) -> None:
    """`count` requests that must succeed."""
    answers = post_each(server.port, MODEL, [{"text": TEXT}] * count, connections)
    assert {status for status, _ in answers} == {200}


def boot(server: Server) -> None:
    """A few cold boots, each to its first answer."""
    for _ in range(BOOTS):
        assert server.put(BOOTED).status_code == 202
        server.run(BOOTED, text="hello", params={"max_new_tokens": 1})
        server.delete(BOOTED)


def cost(server: Server, work: Callable[[Server], None]) -> Cost:
    """What `work` takes, of the server's processes and of the clock."""
    before, started = cpu_seconds(server), time.perf_counter()
    work(server)
    wall = time.perf_counter() - started
    return cpu_seconds(server) - before, wall


def cpu_seconds(server: Server) -> float:
    """Of the server and its descendants, with those that have ended and were waited for."""
    assert server.process is not None
    total = 0.0
    for process in [psutil.Process(server.process.pid), *server.descendants()]:
        try:
            total += sum(process.cpu_times()[:4])
        except psutil.NoSuchProcess:
            continue
    return total


def report(name: str, ratios: Sequence[float]) -> float:
    """Prints the median ratio and its bootstrapped 95 % interval; the interval's upper end."""
    low, high = interval(ratios)
    print(f"{name:40} {median(ratios):6.3f} x  [{low:.3f}-{high:.3f}], {len(ratios)} pairs", flush=True)
    return high
