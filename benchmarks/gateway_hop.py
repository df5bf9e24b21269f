"""What the gateway adds to a request's latency, at half of what the server answers at most, and at half of what it
answered when the bounds were set: the same requests, at the same pace, over HTTP and to a replica's own socket.

Beside it, what any process in between adds: one that only passes bytes on. Of a task that computes nothing, where that
is all there is to see; and of a very small classifier, whose replica keeps a core busy beside the gateway's.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import uvloop

from benchmarks.models import ensure_model
from benchmarks.paced import Asked, AskedOverHttp, AskedOverLink, ask_at_pace, find_peak
from benchmarks.peers import models as models_of_peers
from benchmarks.peers.environments import ensure_echo
from benchmarks.relay import relayed
from benchmarks.report import at_most, rounds

if TYPE_CHECKING:
    from modelyard.engine.doors import Door
    from tests.engine.harness import Harness

CLASSIFIER, CLASSIFICATION = "bench/classifier", "text-classification"
ECHO, ECHOING = "bench/echo", "echo"
TEXT = "the cat sat on the mat and looked at the dog"
ROUNDS = rounds(5)
SECONDS = 4
CONNECTIONS = 64
"""Open over HTTP; at half of the peak, few of them are in use at once."""
WARM_SECONDS = 4
"""By then a replica has the threads that it keeps."""
PEAK_REQUESTS = 20_000
FIRST_PACE = 2_477
"""Requests per second: half of the 4,954 that the server answered when the bounds were set. It answers three times as
many since, so that half of them is a pace at which gateway, replica and client take turns on two cores."""
MOST_P50_MS = 0.25
MOST_P99_MS = 2.0

Figures = Sequence[Sequence[float]]
"""Milliseconds, p50 and p99: of each of SIDES."""
LINK, RELAY, HTTP = range(3)
SIDES = ("to the replica's own socket", "through a process that passes bytes on", "over HTTP")


def run() -> bool:
    """Prints both sides and what lies between them."""
    packages = str(ensure_echo())
    sys.path.append(packages)  # here, and in the processes that are started from here
    os.environ["PYTHONPATH"] = os.pathsep.join([os.environ.get("PYTHONPATH", ""), packages])
    models = ensure_model(CLASSIFIER, "bert_classifier")
    models_of_peers.echo(models / ECHO)
    echo = uvloop.run(compare(models, ECHO, ECHOING))
    uvloop.run(compare(models, CLASSIFIER, CLASSIFICATION))
    kept = [
        at_most(f"added by the gateway {pace}, {quantile}", added(figures, HTTP, place), most, "ms")
        for pace, figures in echo.items()
        for place, (quantile, most) in enumerate((("p50", MOST_P50_MS), ("p99", MOST_P99_MS)))
    ]
    return all(kept)


async def compare(models: Path, model: str, task: str) -> Mapping[str, Sequence[Figures]]:
    """Rounds in turn, at each pace."""
    from modelyard.engine.local import LocalEngine
    from modelyard.units import GIB
    from tests.e2e.loadgen import encode
    from tests.engine.harness import Harness
    from tests.serving import Server

    engine = LocalEngine(4 * GIB, is_shared=True)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(Server(Path(folder), models, "--rate-limit", "0"))
        server.run(model, text=TEXT)
        await engine.start()
        try:
            door = await boot(Harness(engine), models, model, task)
            path = door.address.removeprefix("unix:")
            straight = socket.socket(socket.AF_UNIX)
            straight.connect(path)
            passed_on = stack.enter_context(relayed(path))
            over_link = [AskedOverLink(each, door.secret, {"text": TEXT}) for each in (straight, passed_on)]
            over_http = AskedOverHttp(server.port, encode(model, {"text": TEXT}), CONNECTIONS)
            await asyncio.to_thread(take, over_http, PEAK_REQUESTS / WARM_SECONDS / 2, WARM_SECONDS)
            peak = await asyncio.to_thread(find_peak, over_http, CONNECTIONS, PEAK_REQUESTS)
            paces = {"at its first pace": FIRST_PACE, "at half of its peak": peak / 2}
            taken: dict[str, list[Figures]] = {pace: [] for pace in paces}
            for _ in range(ROUNDS):
                for pace, rate in paces.items():
                    sides = [await asyncio.to_thread(take, asked, rate) for asked in (*over_link, over_http)]
                    taken[pace].append(sides)
        finally:
            await engine.close()
    for pace, rate in paces.items():
        print_figures(f"{task} {pace}, {rate:.0f} requests/s", taken[pace])
    return taken


def print_figures(heading: str, taken: Sequence[Figures]) -> None:
    """One line a side, and what each adds."""
    print(f"{heading}; p50 and p99 in ms")
    for side, name in enumerate(SIDES):
        print(f"{name:40} {' '.join('{:.2f}, {:.2f};'.format(*figures[side]) for figures in taken)}")
    for side in (RELAY, HTTP):
        print(f"added {SIDES[side]}: {added(taken, side, 0):.2f}, {added(taken, side, 1):.2f}")


def added(taken: Sequence[Figures], side: int, place: int) -> float:
    """What a side takes longer than straight to the replica, of the p50 or of the p99: the median of the rounds."""
    return median(figures[side][place] - figures[LINK][place] for figures in taken)


async def boot(harness: Harness, models: Path, model: str, task: str) -> Door:
    """Where a replica of its own takes connections."""
    from modelyard.records.replicas import ReplicaSpec
    from tests.engine.harness import SECRET, new_id

    log_path = str(models / "worker.log")
    spec = ReplicaSpec(new_id(), model, str(models / model), task, secret=SECRET, log_path=log_path)
    door = (await harness.boot(spec)).door
    assert door is not None
    return door


def take(asked: Asked, rate: float, seconds: float = SECONDS) -> tuple[float, float]:
    """The median and the 99th percentile, in milliseconds."""
    cuts = quantiles(ask_at_pace(asked, rate, seconds), n=100)
    return 1000 * cuts[49], 1000 * cuts[98]
