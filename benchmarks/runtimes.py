"""One classifier of 4 layers × 256 by torch, ONNX Runtime and, where `make setup` has put it, OpenVINO: each in a
process of its own, without a server, asked in turn for one text and for batches of 32; and the memory that each takes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.models import cache_dir
from benchmarks.peers.models import SENTENCE, classify
from benchmarks.report import MIB, rounds, spread
from modelyard.records.variants import VariantKind
from modelyard.worker.environment import QUIET_LIBRARIES

MODEL, TASK = "bench/classify", "text-classification"
RUNTIMES: dict[str, VariantKind | None] = {"transformers": None, "onnx": "onnx", "openvino": "openvino"}
"""Runtime → the kind of variant that it holds."""
TEXT = f"{SENTENCE} {SENTENCE} {SENTENCE}"
ROWS = (1, 32)
ROUNDS = rounds(5)
ASK_S = 1.0
"""How long a process computes each time it is asked."""


def run() -> bool:
    """Prints rates for as many threads as there are cores, and for one; nothing is promised."""
    from tests.builders import openvino

    folder = cache_dir() / MODEL
    if not (folder / "config.json").exists():
        classify(folder)
    command = [sys.executable, "-m", __name__, str(folder)]
    here = openvino.environment() if openvino.PACKAGES.is_dir() else dict(os.environ)
    environ = {**here, **QUIET_LIBRARIES}
    names = [name for name in RUNTIMES if name != "openvino" or openvino.PACKAGES.is_dir()]
    for name in names:
        subprocess.run([*command, name, "make"], env=environ, check=True)
    with ExitStack() as stack:
        processes = {name: stack.enter_context(process_of([*command, name], environ)) for name in names}
        cases = [(threads, rows) for threads in sorted({1, os.cpu_count() or 1}) for rows in ROWS]
        found: dict[tuple[str, int, int], list[float]] = {(name, *case): [] for name in names for case in cases}
        for _ in range(ROUNDS):
            for case in cases:
                for name in names:
                    found[name, *case].append(ask(processes[name], *case))
        held = {name: ask(processes[name], 0, 0) for name in names}
    for threads, rows in cases:
        first = median(found["transformers", threads, rows])
        for name in names:
            rates = found[name, threads, rows]
            print(f"{name:14}{threads} threads, {rows:2} rows{spread(rates, 'texts/s')}  {median(rates) / first:.2f} x")
    for name in names:
        print(f"{name:14}{held[name] / MIB:8.0f} MB more than before it was loaded")
    return True


@contextmanager
def process_of(command: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """One that has loaded the model, and waits to be asked."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], threads: int, rows: int) -> float:
    """Texts a second in batches of `rows`; of none: the bytes that it holds."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([threads, rows]) + "\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def path_of(folder: Path, name: str) -> Path:
    """Where the model lies in the form that a runtime holds."""
    kind = RUNTIMES[name]
    return folder if kind is None else folder.with_name(f"{folder.name}.{kind}")


def make(folder: Path, name: str) -> None:
    """Makes that form, if it is not there."""
    from modelyard.records.variants import ExportOrder
    from modelyard.worker.variants import make_variant

    kind, target = RUNTIMES[name], path_of(folder, name)
    if kind is not None and not target.is_dir():
        order = ExportOrder(path=str(folder), task=TASK, kind=kind, target=str(target), model_id=MODEL)
        make_variant(order, lambda _step, _message: None)


def serve(folder: Path, name: str) -> None:
    """Runs as such a process."""
    from modelyard.tasks.registry import get_task
    from modelyard.worker.runtimes.base import find_loader, load_model
    from modelyard.worker.runtimes.threads import set_threads
    from tests.peaks import pss_bytes

    heads = get_task(TASK).heads
    load = find_loader(name, heads)
    assert load is not None
    load()
    before = pss_bytes() or 0
    set_threads(1)
    model = load_model(name, path_of(folder, name), heads, device="cpu")
    for line in sys.stdin:
        threads, rows = json.loads(line)
        if not rows:
            print((pss_bytes() or 0) - before, flush=True)
            continue
        set_threads(threads)
        given = dict(model.tokenizer([TEXT] * rows, return_tensors="np"))
        model.forward(given)
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + ASK_S:
            model.forward(given)
            done += rows
        print(done / (time.perf_counter() - began), flush=True)


if __name__ == "__main__":
    (make if "make" in sys.argv else serve)(Path(sys.argv[1]), sys.argv[2])
