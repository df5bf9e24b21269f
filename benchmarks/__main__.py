"""`python -m benchmarks [NAME ...]`: runs the named benchmarks, or all of them, one after another."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback
from datetime import UTC, datetime

from benchmarks.report import BOUNDS

NAMES = (
    "cold_boot", "replica_memory", "gateway_overhead", "gateway_hop", "surfaces", "upload_stall", "catalogue",
    "measured_memory", "open_console",
    "runtimes", "quantised", "gguf", "generation", "forms", "mixed_lengths", "idle_clusters", "many_nodes", "crowded",
    "several_gateways", "several_servers", "observability", "against", "peers",
)  # fmt: skip


def main() -> int:
    """Runs them; returns 1 when a bound that is promised was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
    kept, page, done = True, "", list[str]()
    begun = time.monotonic()
    for name in names:
        print(f"\n== {name} ==", flush=True)
        BOUNDS.benchmark, began = name, time.monotonic()
        kept &= run_one(name)
        print(f"({(time.monotonic() - began) / 60:.1f} minutes)", flush=True)
        done.append(name)
        took = f"{(time.monotonic() - begun) / 60:.0f} minutes"
        # Each time: an hour's figures are not to be lost with the run that took them.
        page = BOUNDS.write(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {took}: {', '.join(done)}")
    print(f"\n{page}", flush=True)
    return 0 if kept else 1


def run_one(name: str) -> bool:
    """Runs one; whether its bounds were kept. One that fails is told beside the bounds, and the others run."""
    try:
        return bool(importlib.import_module(f"benchmarks.{name}").run())
    except Exception as error:  # noqa: BLE001 - an hour's figures are not to be lost for one of them
        traceback.print_exc()
        return BOUNDS.check(f"it failed: {type(error).__name__}", "none", "a figure", kept=False)


if __name__ == "__main__":
    sys.exit(main())
