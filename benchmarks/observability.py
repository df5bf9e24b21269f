"""What it costs a request to be counted, traced and written down: CPU time of the server for one ECHO (the serving path
without a model), with 64 clients, in turns with a server that counts nothing.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers import models
from benchmarks.peers.load import Load, load
from benchmarks.report import ratio, rounds, spread
from benchmarks.several_gateways import CLIENTS, serve

ROUNDS = rounds(15)
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
MOST = 1.02
"""What counting may add to a request."""
COUNTS_NOTHING = """
import modelyard.gateway.metrics
modelyard.gateway.metrics.InferenceTallies.note = lambda *_: None
"""
"""What a server runs first that is to count no inference."""


def run() -> bool:
    """Prints all; whether counting costs as little as is promised."""
    from tests.telemetry.collector import collecting

    with tempfile.TemporaryDirectory() as name, collecting() as collector, ExitStack() as stack:
        folder = Path(name)
        (folder / "uncounted").mkdir()
        (folder / "uncounted" / "sitecustomize.py").write_text(COUNTS_NOTHING)
        traced = ("--otlp-endpoint", collector.url)
        sides = {
            "counted": stack.enter_context(serve(folder / "a")),
            "uncounted": stack.enter_context(serve(folder / "b", sources=[folder / "uncounted"])),
            "traced": stack.enter_context(serve(folder / "c", *traced)),
            "written as JSON": stack.enter_context(serve(folder / "d", "--log-format", "json")),
        }
        costs: dict[str, list[float]] = {side: [] for side in sides}
        wanted = Load(('{"text": "' + models.SENTENCE + '"}',), CLIENTS, SECONDS)
        for _ in range(ROUNDS):
            for side, server in sides.items():
                before = server.cpu_us()
                figures = load(server.address, wanted)
                costs[side].append((server.cpu_us() - before) / (figures.rate * SECONDS))
    for side, each in costs.items():
        print(f"CPU time for one request, {side:20} {spread(each, 'us')}")
    for side in ("traced", "written as JSON"):
        ratio(f"CPU time for one request, {side} / counted", costs[side], costs["counted"])
    name = "CPU time for one request, counted / uncounted"
    return ratio(name, costs["counted"], costs["uncounted"], at_most=MOST)
