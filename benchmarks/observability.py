"""What it costs a request to be counted, traced and written down, beside the CPU time that one ECHO (the serving path
without a model) takes the server, with 64 clients.

What counting takes is measured alone, the least of many times: of a whole request it is too little to be seen.
"""

from __future__ import annotations

import tempfile
import timeit
from contextlib import ExitStack
from pathlib import Path

from benchmarks.peers import models
from benchmarks.peers.load import Load
from benchmarks.report import at_most, ratio, rounds, spread
from benchmarks.several_gateways import CLIENTS, SECONDS, serve

ROUNDS = rounds(15)
MOST_PERCENT = 2.0
"""What counting may take of a request."""
TIMES, REPEATS = 20_000, 25


def run() -> bool:
    """Prints all; whether counting costs as little as is promised."""
    from tests.telemetry.collector import collecting

    with tempfile.TemporaryDirectory() as place, collecting() as collector, ExitStack() as stack:
        folder = Path(place)
        sides = {
            "as always": stack.enter_context(serve(folder / "a")),
            "traced": stack.enter_context(serve(folder / "b", "--otlp-endpoint", collector.url)),
            "written as JSON": stack.enter_context(serve(folder / "c", "--log-format", "json")),
        }
        wanted = Load(('{"text": "' + models.SENTENCE + '"}',), CLIENTS, SECONDS)
        for _ in range(ROUNDS):
            for side in sides.values():
                side.take_round(wanted)
    usual, *others = sides.items()
    for name, side in sides.items():
        print(f"CPU time for one request, {name:20} {spread(side.costs, 'us')}")
    for name, side in others:
        ratio(f"CPU time for one request, {name} / {usual[0]}", side.costs, usual[1].costs)
    counting = counting_us()
    print(f"CPU time for counting one request {counting:.2f} us")
    return at_most("counting, of a request's CPU time", 100 * counting / min(usual[1].costs), MOST_PERCENT, "%")


def counting_us() -> float:
    """What counting one inference takes: where it is answered, and where it ran in a batch of its own."""
    from modelyard.gateway.metrics import InferenceTallies
    from modelyard.protocol import Usage
    from modelyard.worker.schedulers.tally import WorkTally

    tallies, work, usage = InferenceTallies(), WorkTally(), Usage(took_us=300, queued_us=12)

    def count() -> None:
        tallies.note("v2", "bench/echo", 200, 0.0003, usage)
        work.note_batch(1, 64)

    return min(timeit.repeat(count, number=TIMES, repeat=REPEATS)) / TIMES * 1e6
