"""Runs the rows: all servers of a row at once, loaded in turn, several rounds; then writes what came of it.

Rounds take turns, so that a machine that becomes slower does so for all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median

import httpx

from benchmarks.peers.load import Figures, Load, load
from benchmarks.peers.peers import ALONE, MEASURED, OURS, SHORT_WEIGHTS
from benchmarks.peers.results import table, write
from benchmarks.peers.rows import ROWS, Row
from benchmarks.peers.running import Running, environments, run_alone, serve_ours, serve_peer, wait_until_idle
from benchmarks.peers.targets import Case, Medians

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "4"))
"""Of one load."""
WARM_SECONDS = 2

Taken = dict[tuple[str, Case], list[Figures]]
"""By server and case, a round after another."""


def run() -> bool:
    """Runs the rows that BENCH_ROWS names, or all; whether every target was met."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as an error: what was started is ended
    names = os.environ.get("BENCH_ROWS", "").upper().split()
    rows = [row for row in ROWS if not names or row.name in names]
    for name, make in environments(rows).items():
        with told(name):
            make()
    medians: dict[Row, Medians] = {row: {} for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        for row in rows:
            with told(row.name):
                medians[row] = run_row(row, Path(folder))
    return write(medians)


def run_row(row: Row, folder: Path) -> Medians:
    """The medians of a row. `folder`: where our servers keep what they have from row to row."""
    print(f"\n{row.name}: {row.what}", flush=True)
    begun = time.monotonic()
    taken: Taken = {}
    with ExitStack() as stack:
        servers = {OURS: stack.enter_context(serve_ours(row, folder / "as it comes", measured=False))}
        if row.measured:
            servers[MEASURED] = stack.enter_context(serve_ours(row, folder / "measured", measured=True))
        if row.short_weights:
            flags = ("--bf16", row.model)
            servers[SHORT_WEIGHTS] = stack.enter_context(serve_ours(row, folder / "bf16", *flags, measured=False))
        for peer in row.peers:
            with told(peer.name):
                servers[peer.name] = stack.enter_context(serve_peer(peer, row))
        for name, server in servers.items():
            with told(name), server.awake():
                load_one(row, server, row.cases_of(server.peer)[-1], WARM_SECONDS, 0)
        for turn in range(ROUNDS):
            take_round(row, turned(servers, turn), turn, taken)
    medians = {place: middle(figures) for place, figures in taken.items()}
    print(f"{table(row, medians)}\n{(time.monotonic() - begun) / 60:.1f} minutes", flush=True)
    return medians


def take_round(row: Row, servers: Mapping[str, Running], turn: int, taken: Taken) -> None:
    """Loads each server once in each case."""
    for name, server in servers.items():
        with told(name), server.awake():
            for case in row.cases_of(server.peer):
                number = 1 + turn * len(row.cases) + row.cases.index(case)
                figures = load_one(row, server, case, SECONDS, number)
                taken.setdefault((name, case), []).append(figures)
                print(f"  {name:40} {case!s:22} {figures.rate:10,.1f} {row.unit}", flush=True)
    for case, figures in alone(row).items():
        taken.setdefault((ALONE, case), []).append(figures)


def load_one(row: Row, server: Running, case: Case, seconds: int, number: int) -> Figures:
    """One server in one case. `number`: of the load; each has texts of its own, where texts are gone on with."""
    wanted = Load(
        bodies=server.bodies(row, case, number),
        clients=case.clients,
        seconds=round(seconds * row.seconds),
        echoed_bytes=server.echoed_bytes(row, case),
        by_ourselves=bool(row.tokens),
    )
    figures = load(server.address, wanted)
    wait_until_idle(server, row)
    return replace(figures, rate=figures.rate * row.tokens) if row.tokens else figures


def alone(row: Row) -> Mapping[Case, Figures]:
    """The model in process; nothing where there is none."""
    if row.task == "echo":
        return {}
    found = [(Case(*case), Figures(*figures)) for case, figures in json.loads(run_alone(row))]
    for case, figures in found:
        print(f"  {ALONE:40} {case!s:22} {figures.rate:10,.1f} {row.unit}", flush=True)
    return dict(found)


@contextmanager
def told(name: str) -> Iterator[None]:
    """A block in which a server, or a row, may fail: the others' figures are not lost for it, and it has none."""
    try:
        yield
    except (AssertionError, RuntimeError, OSError, httpx.HTTPError, subprocess.SubprocessError):
        print(f"  {name} failed:\n{traceback.format_exc()}", flush=True)


def turned(servers: Mapping[str, Running], turn: int) -> Mapping[str, Running]:
    """The servers in the order of a round: each begins in its turn."""
    names = list(servers)
    first = turn % len(names)
    return {name: servers[name] for name in [*names[first:], *names[:first]]}


def middle(figures: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    firsts = [each.first_ms for each in figures if each.first_ms is not None]
    return Figures(
        median(each.rate for each in figures),
        median(each.p50_ms for each in figures),
        median(each.p99_ms for each in figures),
        median(firsts) if firsts else None,
    )
