"""What a second and third replica of a 124M model cost after each has answered a request."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

from benchmarks.models import ensure_model
from benchmarks.report import ratio

MODEL = "bench/gpt2-124m"
REPLICAS = 3


def run() -> bool:
    """Adds one replica at a time and prints the total after each."""
    from tests.peaks import total_bytes
    from tests.serving import Server

    models = ensure_model(MODEL, "gpt2_124m")
    totals = []
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), models) as server:
        before = total_bytes(process.pid for process in server.descendants())
        for count in range(1, REPLICAS + 1):
            server.put(MODEL, capacity={"min": count, "desired": count, "max": count})
            server.wait_for(MODEL, ready=count)
            touch_every_replica(server, count)
            totals.append(total_bytes(process.pid for process in server.descendants()) - before)
    added = [totals[0], *(b - a for a, b in pairwise(totals))]
    for number, size in enumerate(added, 1):
        print(f"replica {number} added {size / 1024**2:8.1f} MB")
    first = [float(added[0])] * (REPLICAS - 1)
    return ratio("a further replica / the first", [float(size) for size in added[1:]], first, at_most=0.2)


def touch_every_replica(server: object, count: int) -> None:
    """Sends requests at once until every replica has surely worked, so that every page of its weights is in use."""
    from tests.e2e.loadgen import post_each
    from tests.serving import Server

    assert isinstance(server, Server)
    bodies = [{"text": f"number {n}", "params": {"max_new_tokens": 4}} for n in range(16 * count)]
    post_each(server.port, MODEL, bodies, connections=8 * count)
