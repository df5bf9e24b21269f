"""The store's contract suite runs twice: on a SQLite file and on a real PostgreSQL server."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelyard.records.accounts import Account
from modelyard.store import Store
from tests.store.program import Program
from tests.store.samples import at


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of its own for each test: a file, or a schema of the one server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/modelyard.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(url: str, database: Path) -> Iterator[Store]:
    if url.startswith("sqlite"):
        shutil.copy(database, url.removeprefix("sqlite:///"))
    with Store.open(url) as opened:
        yield opened


@pytest.fixture
def account(store: Store) -> Account:
    return store.accounts.create("ada", at(0))


@pytest.fixture(scope="session")
def processes() -> Iterator[list[Program]]:
    """Three other processes, each a `Program`, started once because imports take longer than any test."""
    with ExitStack() as stack:
        yield [stack.enter_context(Program()) for _ in range(3)]


@pytest.fixture
def ledger_writers(processes: list[Program]) -> list[Program]:
    """Two of the other processes."""
    return processes[:2]
