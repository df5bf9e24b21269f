"""What the gateway adds to a request's latency, at half of what the server answers at most: the same requests of a very
small classifier, at the same pace, over HTTP and over a link to a replica's own socket, in turn.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import uvloop

from benchmarks.models import ensure_model
from benchmarks.report import at_most, rounds

MODEL = "bench/classifier"
TEXT = "the cat sat on the mat and looked at the dog"
ROUNDS = rounds(5)
SECONDS = 4
CONNECTIONS = 64
"""Open over HTTP; at half of the peak, few of them are in use at once."""
PEAK_REQUESTS = 4000
MOST_P50_MS = 0.25
MOST_P99_MS = 2.0

Ask = Callable[[], Awaitable[None]]


def run() -> bool:
    """Prints both sides and what lies between them."""
    return uvloop.run(compare())


async def compare() -> bool:
    """Rounds in turn."""
    from modelyard.engine.local import LocalEngine
    from modelyard.units import GIB
    from tests.e2e.loadgen import post_each
    from tests.engine.harness import Harness
    from tests.serving import Server

    models = ensure_model(MODEL, "bert_classifier")
    engine = LocalEngine(4 * GIB)
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder), models, "--rate-limit", "0") as server:
        server.run(MODEL, text=TEXT)
        await engine.start()
        try:
            over_link = await open_link(Harness(engine), models / MODEL)
            over_http = await open_http(server.port)
            bodies = [{"text": TEXT}] * PEAK_REQUESTS
            began = time.perf_counter()
            await asyncio.to_thread(post_each, server.port, MODEL, bodies, CONNECTIONS)
            rate = PEAK_REQUESTS / (time.perf_counter() - began) / 2
            taken = [[await take(ask, rate) for ask in (over_link, over_http)] for _ in range(ROUNDS)]
        finally:
            await engine.close()
    print(f"{rate:.0f} requests/s, half of the server's peak; p50 and p99 in ms")
    for side, name in enumerate(("over the replica's own socket", "over HTTP")):
        print(f"{name:40} {' '.join('{:.2f}, {:.2f};'.format(*figures[side]) for figures in taken)}")
    added = [[http[place] - link[place] for link, http in taken] for place in (0, 1)]
    kept = at_most("added by the gateway, p50", median(added[0]), MOST_P50_MS, "ms")
    return at_most("added by the gateway, p99", median(added[1]), MOST_P99_MS, "ms") and kept


async def open_link(harness: Any, model: Path) -> Ask:
    """A replica of its own, asked over its link."""
    from modelyard.records.replicas import ReplicaSpec
    from tests.engine.harness import SECRET, ask, new_id

    spec = ReplicaSpec(
        new_id(), MODEL, str(model), "text-classification", secret=SECRET, log_path=str(model.parent / "worker.log")
    )
    link = await harness.boot(spec)

    async def over_link() -> None:
        await ask(link, TEXT)

    return over_link


async def open_http(port: int) -> Ask:
    """The server, asked over connections that stay open."""
    from tests.e2e.loadgen import encode, read_answer

    free: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(CONNECTIONS):
        free.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    request = encode(MODEL, {"text": TEXT})

    async def over_http() -> None:
        reader, writer = await free.get()
        writer.write(request)
        status, _ = await read_answer(reader)
        assert status == 200, status
        free.put_nowait((reader, writer))

    return over_http


async def take(ask: Ask, rate: float) -> Sequence[float]:
    """The median and the 99th percentile, in milliseconds, of requests that come at such a rate, whatever becomes of
    those before."""
    loop = asyncio.get_running_loop()
    took_ms: list[float] = []

    async def one() -> None:
        began = time.perf_counter()
        await ask()
        took_ms.append(1000 * (time.perf_counter() - began))

    begun = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(int(rate * SECONDS)):
            await asyncio.sleep(max(0.0, begun + number / rate - loop.time()))
            group.create_task(one())
    cuts = quantiles(took_ms, n=100)
    return cuts[49], cuts[98]
