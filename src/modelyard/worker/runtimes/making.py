"""What the runtimes that make media share: leaving a library's loop early, and seeds. Loads and calls no model."""

from __future__ import annotations

import secrets


class Stopped(Exception):
    """Raised inside a library's loop to leave it: nobody waits for the answer any more."""


def choose_seed(given: int | None) -> int:
    """The request's seed, or a fresh one: replicas forked from one process would draw the same numbers."""
    return secrets.randbits(63) if given is None else given
