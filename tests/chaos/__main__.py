"""`python -m tests.chaos`: disturbs a server under load until the time is over, and prints what held.

Ends with status 1 if something did not. The seed, which is printed, makes the same plan of disturbances again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.run import Run, disturb


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no other disturbance after this time")
    parser.add_argument("--seed", type=int, default=None, help="of the plan; drawn if it is not given")
    chosen = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="modelyard-chaos-") as folder:
        held = False
        try:
            held = tell(disturb(Path(folder), seed, chosen.seconds, note=lambda kind: print(kind, flush=True)))
        finally:
            if not held:
                log = Path(folder) / "server.log"
                print("the server's log ends with", log.read_text(errors="replace")[-4000:], sep="\n", flush=True)
    return 0 if held else 1


def tell(run: Run) -> bool:
    """Prints the run; whether everything held."""
    problems = list(run.problems())
    print(*run.words(), *(f"FAULT  {problem}" for problem in problems), sep="\n", flush=True)
    return not problems


if __name__ == "__main__":
    sys.exit(main())
