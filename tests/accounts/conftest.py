"""A database of its own for each test, and a clock that a test sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.store.store import Store
from tests.clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(own_database: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{own_database}") as opened:
        yield opened
