"""Chaos: a real server under load, disturbed as a seed says, and what must hold at the end. `python -m tests.chaos`."""
