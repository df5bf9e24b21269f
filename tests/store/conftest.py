"""The store's contract suite runs twice: on a SQLite file and on a real PostgreSQL server."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from modelyard.records.accounts import Account
from modelyard.store import Store
from tests.store.program import Program
from tests.store.samples import at

KINDS = ("sqlite", "postgresql")


@pytest.fixture(params=KINDS)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of its own for each test, in which nothing is: no file yet, or a schema of the one server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/modelyard.db"
    return str(request.getfixturevalue("empty_postgresql_url"))


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest) -> str:
    """The same with all tables."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('own_database')}"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def store(url: str) -> Iterator[Store]:
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
