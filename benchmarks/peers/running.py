"""Servers that run for a row: ours, and each peer in its own environment. Owns their starting, stopping and ending."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import httpx
import psutil

from benchmarks.models import cache_dir
from benchmarks.peers.environments import ensure_echo, ensure_environment
from benchmarks.peers.load import ROOT, Address
from benchmarks.peers.peers import MEASURED, NEW_TOKENS, Peer
from benchmarks.peers.rows import Row
from benchmarks.peers.targets import Case
from tests.serving import KEY, Server, family_of, free_port, wait_until

END_S = 10.0
BENCHMARK_S = "20"
"""For so long a job may measure a model; those of tests' servers measure for a moment only."""
MEASURE_S = 300.0
"""How long finding out how a model is served best may take."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs. `peer`: None when it is ours. `process`: of a peer, which is stopped, with all it has
    started, while it is not loaded: some keep a core busy while nobody asks."""

    address: Address
    peer: Peer | None = None
    process: psutil.Process | None = None

    @property
    def sleeps(self) -> bool:
        """Whether it is stopped while it is not loaded."""
        return self.peer is not None and self.peer.sleeps

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
        for process in [] if self.process is None or not self.sleeps else [self.process, *family_of(self.process)]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def bodies(self, row: Row, case: Case, number: int = 0) -> tuple[str, ...]:
        """The requests of a row's load as this server takes them."""
        texts = row.texts_of(number)
        return tuple(httpx.Request("POST", "/", json=self.body(row, text, case)).content.decode() for text in texts)

    def body(self, row: Row, text: str, case: Case) -> object:
        """One request."""
        if self.peer is not None:
            return self.peer.body(text, row.folder, case.streams)
        body: dict[str, object] = {"text": text}
        if row.tokens:
            body["params"] = {"max_new_tokens": row.tokens, "min_new_tokens": row.tokens, "do_sample": False}
        return {**body, "stream": True} if case.streams else body

    def echoed_bytes(self, row: Row, case: Case) -> int | None:
        """How much of a streamed answer comes before what the model has written: with us, the prompt."""
        if not case.streams:
            return None
        return len(row.texts[0].encode()) if self.peer is None else 0


@contextmanager
def serve_ours(row: Row, folder: Path, *flags: str, measured: bool) -> Iterator[Running]:
    """Our server, with keys and metering as always, and as many replicas as the row has workers. `folder`: what it
    keeps from row to row; `measured`: it is asked to find out how the model is served best before."""
    folder.mkdir(exist_ok=True)
    source = os.pathsep.join([str(ROOT / "src"), str(ensure_echo())])
    settings = {"PYTHONPATH": source, "MODELYARD_RUNTIME": "fastest", "MODELYARD_JOB_BENCHMARK_S": BENCHMARK_S}
    with Server(folder, cache_dir(), "--rate-limit", "0", *flags, **settings) as server:
        if measured:
            measure(server, row.model)
        capacity = {"min": row.workers, "desired": row.workers, "max": row.workers}
        assert server.put(row.model, capacity=capacity).is_success
        server.wait_for(row.model, ready=row.workers)
        yield Running(Address(server.port, f"/models/v2/{row.model}", KEY))
        server.delete(row.model)


def measure(server: Server, model_id: str) -> None:
    """Has the server find out, as anybody may who asks for it, which form of the model is the fastest, and its best
    batch. Done once for a folder of data."""
    path = f"/models/v2/request/{model_id}"
    assert server.client.post(path, json={}).is_success
    wait_until(lambda: server.client.get(path).json()["output"]["status"] in ("done", "failed"), MEASURE_S, every_s=0.5)
    job = server.client.get(path).json()["output"]
    assert job["status"] == "done", job
    (listing,) = server.client.get("/models/v2/list/models", params={"modelId": model_id}).json()["output"]
    batch, form = listing["benchmark"]["batch"], listing["servedForm"]
    print(f"  {MEASURED}: batches of {batch}, {form}", flush=True)


@contextmanager
def serve_peer(peer: Peer, row: Row) -> Iterator[Running]:
    """A peer's server, stopped while nobody loads it, until the end of the block."""
    port = free_port()
    environ = {
        **os.environ,
        "BENCH_TASK": row.task,
        "BENCH_MODEL": str(row.folder),
        "BENCH_WORKERS": str(row.workers),
        "BENCH_THREADS": str(row.threads),
        "BENCH_BATCH": str(peer.batch),
        "BENCH_NEW_TOKENS": str(NEW_TOKENS),
        "BENCH_PORT": str(port),
        "OMP_NUM_THREADS": str(row.threads),
        "HF_HUB_OFFLINE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "BENTOML_DO_NOT_TRACK": "1",
        "PYTHONPATH": "",
        **peer.environ,
        **{name: str(free_port()) for name in peer.ports},
    }
    python = ensure_environment(peer.environment)
    environ["PATH"] = f"{python.parent}{os.pathsep}{environ['PATH']}"
    with tempfile.TemporaryFile() as log:
        command = peer.starts(python, row.folder, port)
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=python.parent)
        running = Running(Address(port, peer.path), peer, psutil.Process(process.pid))
        try:
            wait_for(running, row, log)
            running.signal(signal.SIGSTOP)
            yield running
        finally:
            end(process, running)


def end(process: subprocess.Popen[bytes], running: Running) -> None:
    """Ends a server and what it has started: not every one ends its own workers."""
    assert running.process is not None
    family = family_of(running.process)
    running.signal(signal.SIGCONT)
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(END_S)
    _, left = psutil.wait_procs(family, timeout=1.0)
    for each in left:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.kill()
    process.wait()


def wait_for(running: Running, row: Row, log: IO[bytes]) -> None:
    """Returns when a server answers. Raises AssertionError, with what it has said, when it does not."""
    try:
        wait_until(lambda: answers(running, row), every_s=0.2)
    except AssertionError as error:
        log.seek(0)
        raise AssertionError(f"{running.address} does not answer: {log.read().decode()[-2000:]}") from error


def wait_until_idle(running: Running, row: Row) -> None:
    """Returns when a server has answered one more request: some go on with what a load has left behind, and the next
    load would wait for that."""
    wait_until(lambda: answers(running, row), every_s=0.2)


def answers(running: Running, row: Row) -> bool:
    """Whether a server answers a request."""
    case = row.cases_of(running.peer)[0]
    url = f"http://127.0.0.1:{running.address.port}{running.address.path}"
    try:
        body, key = running.body(row, row.texts[0], case), running.address.key
        headers = {"authorization": f"Key {key}"} if key else {}
        answer = httpx.post(url, json=body, headers=headers, timeout=30)
    except httpx.HTTPError:
        return False
    return answer.status_code == 200


def run_alone(row: Row) -> str:
    """The model in process, without any server; the figures of each case, as `in_process` prints them."""
    command = [sys.executable, "-m", "benchmarks.peers.in_process", row.name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def environments(rows: Sequence[Row]) -> Mapping[str, Callable[[], object]]:
    """What makes the models and the peers' environments that are not there yet, by name."""
    models = {row.model: partial(ensure_row_model, row) for row in rows}
    peers = {peer.environment: partial(ensure_environment, peer.environment) for row in rows for peer in row.peers}
    return {**models, **peers}


def ensure_row_model(row: Row) -> None:
    """Makes a row's model, unless it is there."""
    if not any((row.folder / name).exists() for name in ("config.json", "README.md")):
        row.make(row.folder)
