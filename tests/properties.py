"""How many examples property tests try: few and the same ones in `make test`, many in `make verify-properties`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

TIMES = int(os.environ.get("MODELYARD_TEST_EXAMPLES_TIMES", "1"))
"""By how much every test's examples are multiplied."""
EXAMPLES = 50 if TIMES == 1 else settings.default.max_examples * TIMES
"""How many a test tries that says nothing of it."""


def examples(count: int, verified: int | None = None) -> settings:
    """The settings of a test that tries `count` examples with one set of fixtures for all; `verified`: how many of them
    in `make verify-properties`, where that is not as much more as for every test."""
    return settings(
        max_examples=count if TIMES == 1 else verified or count * TIMES,
        derandomize=TIMES == 1,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
