"""Runs the rows: all servers of a row at once, loaded in turn, several rounds; then writes what came of it.

A peer that is not loaded is stopped, for some keep a core busy while nobody asks. Rounds take turns, so that a machine
that becomes slower does so for all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO

import httpx

from benchmarks.models import cache_dir
from benchmarks.peers.environments import ensure_echo, ensure_environment
from benchmarks.peers.load import ROOT, Address, Figures, load
from benchmarks.peers.results import table, write
from benchmarks.peers.rows import ALONE, OURS, ROWS, Medians, Peer, Row
from tests.serving import KEY, Server, free_port, wait_until

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SECONDS = int(os.environ.get("BENCH_SECONDS", "5"))
"""Of one load."""
CLIENTS = (1, 64)
WARM_SECONDS = 2
END_S = 10.0

Taken = dict[tuple[str, int], list[Figures]]
"""By server and number of clients, a round after another."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs. `group`: of its processes, where it is stopped while it is not loaded."""

    address: Address
    group: int | None = None

    @contextmanager
    def awake(self) -> Iterator[None]:
        """A block in which it answers."""
        self.signal(signal.SIGCONT)
        try:
            yield
        finally:
            self.signal(signal.SIGSTOP)

    def signal(self, number: signal.Signals) -> None:
        """Sends all of its processes a signal."""
        if self.group is not None:
            os.killpg(self.group, number)


def run() -> bool:
    """Runs the rows that BENCH_ROWS names, or all; whether every target was met."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as an error: what was started is ended
    wanted = os.environ.get("BENCH_ROWS", "").upper().split() or [row.name for row in ROWS]
    medians = {row.name: run_row(row) for row in ROWS if row.name in wanted}
    return write({row: medians[row.name] for row in ROWS if row.name in medians})


def run_row(row: Row) -> Medians:
    """The medians of a row."""
    print(f"\n{row.name}: {row.what}", flush=True)
    taken: Taken = {}
    with ExitStack() as stack:
        servers = {OURS: Running(start_ours(stack, row))}
        servers |= {peer.name: stack.enter_context(serve_peer(peer, row)) for peer in row.peers}
        for server in servers.values():
            with server.awake():
                load(server.address, body_of(row), max(CLIENTS), WARM_SECONDS)
        for turn in range(ROUNDS):
            take_round(row, turned(servers, turn), taken)
    medians = {place: middle(figures) for place, figures in taken.items()}
    print(table(row, medians), flush=True)
    return medians


def take_round(row: Row, servers: Mapping[str, Running], taken: Taken) -> None:
    """Loads each server once with each number of clients."""
    for name, server in servers.items():
        with server.awake():
            for clients in CLIENTS:
                taken.setdefault((name, clients), []).append(load(server.address, body_of(row), clients, SECONDS))
    if row.make is not None:
        for clients, figures in zip(CLIENTS, run_alone(row), strict=True):
            taken.setdefault((ALONE, clients), []).append(figures)


def turned(servers: Mapping[str, Running], turn: int) -> Mapping[str, Running]:
    """The servers in the order of a round: each begins in its turn."""
    names = list(servers)
    first = turn % len(names)
    return {name: servers[name] for name in [*names[first:], *names[:first]]}


def middle(figures: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(
        median(each.rate for each in figures),
        median(each.p50_ms for each in figures),
        median(each.p99_ms for each in figures),
    )


def body_of(row: Row) -> str:
    """A request."""
    return json.dumps({"text": row.text})


def start_ours(stack: ExitStack, row: Row) -> Address:
    """Our server, with keys and metering as always, and as many replicas as the row has workers."""
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    ensure_row_model(row)
    source = os.pathsep.join([str(ROOT / "src"), str(ensure_echo())])
    server = stack.enter_context(Server(folder, cache_dir(), "--rate-limit", "0", PYTHONPATH=source))
    capacity = {"min": row.workers, "desired": row.workers, "max": row.workers}
    assert server.put(row.model, capacity=capacity).is_success
    server.wait_for(row.model, ready=row.workers)
    return Address(server.port, f"/models/v2/{row.model}", KEY)


def ensure_row_model(row: Row) -> None:
    """Builds the row's model when it is not there."""
    if row.make is None:
        row.folder.mkdir(parents=True, exist_ok=True)
        (row.folder / "README.md").write_text("---\npipeline_tag: echo\n---\n")
    elif not (row.folder / "config.json").exists():
        row.make(row.folder)


@contextmanager
def serve_peer(peer: Peer, row: Row) -> Iterator[Running]:
    """A peer's server, stopped while nobody loads it, until the end of the block."""
    port = free_port()
    environ = {
        **os.environ,
        "BENCH_MODEL": str(row.folder) if row.make is not None else "",
        "BENCH_WORKERS": str(row.workers),
        "BENCH_BATCH": str(peer.batch),
        "BENCH_PORT": str(port),
        "HF_HUB_OFFLINE": "1",
    }
    with tempfile.TemporaryFile() as log:
        command = [str(ensure_environment(peer.environment)), str(peer.program)]
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(f"http://127.0.0.1:{port}{peer.path}", row, log)
            running = Running(Address(port, peer.path), process.pid)
            running.signal(signal.SIGSTOP)
            yield running
        finally:
            end_group(process)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends a server and what it has started: not every one ends its own workers."""
    os.killpg(process.pid, signal.SIGTERM)
    os.killpg(process.pid, signal.SIGCONT)
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_for(url: str, row: Row, log: IO[bytes]) -> None:
    """Returns when a server answers. Raises AssertionError, with what it has said, when it does not."""
    try:
        wait_until(lambda: answers(url, row), every_s=0.2)
    except AssertionError as error:
        log.seek(0)
        raise AssertionError(f"{url} does not answer: {log.read().decode()[-2000:]}") from error


def answers(url: str, row: Row) -> bool:
    """Whether a server answers a request."""
    try:
        return httpx.post(url, json={"text": row.text}, timeout=30).status_code == 200
    except httpx.HTTPError:
        return False


def run_alone(row: Row) -> Sequence[Figures]:
    """The model in process, for one client and for many."""
    command = [sys.executable, "-m", "benchmarks.peers.in_process", str(row.folder), row.text, str(row.workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return [Figures(*each) for each in json.loads(done.stdout.splitlines()[-1])]
