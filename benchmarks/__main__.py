"""`python -m benchmarks [NAME ...]`: runs the named benchmarks, or all of them, one after another."""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = (
    "cold_boot", "replica_memory", "gateway_overhead", "upload_stall", "catalogue", "measured_memory", "quantised",
    "gguf", "generation", "mixed_lengths", "idle_clusters", "crowded", "against", "peers",
)  # fmt: skip


def main() -> int:
    """Runs them; returns 1 when a bound that is promised was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}")
    names = parser.parse_args().names or NAMES
    for name in names:
        if name not in NAMES:
            parser.error(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
    kept = True
    for name in names:
        print(f"\n== {name} ==", flush=True)
        kept &= importlib.import_module(f"benchmarks.{name}").run()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
