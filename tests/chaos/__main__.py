"""`python -m tests.chaos`: disturbs a server under load until the time is over, and prints what held.

Ends with status 1 if something did not. The seed, which is printed, makes the same plan of disturbances again.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.databases import KINDS
from tests.chaos.run import Run, disturb


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="begin no other disturbance after this time")
    parser.add_argument("--seed", type=int, default=None, help="of the plan; drawn if it is not given")
    parser.add_argument("--database", choices=KINDS, default="sqlite", help="what the server keeps its books in")
    parser.add_argument("--keep-log", type=Path, default=None, help="a file for the server's whole log")
    chosen = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**31) if chosen.seed is None else chosen.seed
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="modelyard-chaos-") as folder:
        held = False
        try:
            run = disturb(Path(folder), seed, chosen.seconds, note=note, database=chosen.database)
            held = tell(run)
        finally:
            log = Path(folder) / "server.log"
            if chosen.keep_log is not None:
                shutil.copy(log, chosen.keep_log)
            if not held:
                written = log.read_text(errors="replace")
                if (traceback := written.find("Traceback")) >= 0:
                    print("the server's log has first", written[max(0, traceback - 500) :][:6000], sep="\n")
                print("the server's log ends with", written[-4000:], sep="\n", flush=True)
    return 0 if held else 1


def note(kind: str) -> None:
    """Prints what is done when it begins."""
    print(time.strftime("%H:%M:%S"), kind, flush=True)


def tell(run: Run) -> bool:
    """Prints the run; whether everything held."""
    problems = list(run.problems())
    print(*run.words(), *(f"FAULT  {problem}" for problem in problems), sep="\n", flush=True)
    return not problems


if __name__ == "__main__":
    sys.exit(main())
