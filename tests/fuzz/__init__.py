"""Fuzz: calls, frames, media and model folders that nobody wrote, drawn from a seed. `python -m tests.fuzz --help`."""
