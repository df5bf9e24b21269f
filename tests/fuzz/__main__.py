"""`python -m tests.fuzz`: a server with a model of every task, and calls drawn from a seed until the time is over.

Prints what was called, what was wrong, and ends with status 1 if anything was. The same seed makes the same calls.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.run import fuzz_calls
from tests.serving import Server

EXAMPLES = 20
"""Right calls, and wrong ones, of each operation in a round; each round has a seed of its own."""


def build_models(folder: Path) -> list[str]:
    """A model for every task; their ids."""
    from modelyard.tasks.registry import TASKS
    from tests.builders import build
    from tests.builders.fixtures import FAMILY_OF_TASK

    for task in TASKS:
        model = build(FAMILY_OF_TASK[task.id], folder / "tasks" / task.id)
        (model / "README.md").write_text(f"---\npipeline_tag: {task.id}\n---\n")
    return [f"tasks/{task.id}" for task in TASKS]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0, help="begin no other round after this time")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; drawn if it is not given")
    chosen = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed
    with tempfile.TemporaryDirectory(prefix="modelyard-fuzz-") as folder:
        models = build_models(Path(folder) / "models")
        with Server(Path(folder), Path(folder) / "models") as server:
            return run_rounds(server, models, seed, time.monotonic() + chosen.seconds)


def run_rounds(server: Server, models: Sequence[str], seed: int, end: float) -> int:
    """Rounds until the time is over; the status to end with."""
    failed = 0
    while True:
        run = fuzz_calls(server, models, seed, EXAMPLES)
        print(*run.lines(), *(f"FAULT  {problem}" for problem in run.problems()), "", sep="\n", flush=True)
        failed += any(run.problems())
        if time.monotonic() >= end:
            return 1 if failed else 0
        seed += 1


if __name__ == "__main__":
    sys.exit(main())
