"""This server beside others that people use, in one run on one machine: `python -m benchmarks peers`."""

from benchmarks.peers.comparison import run

__all__ = ["run"]
