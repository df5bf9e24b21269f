"""Two servers on one database: the second is refused, and harms nothing that the first one runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.serving import Server, wait_until
from tests.store.postgresql import create_schema, url_of_schema

NOT_REPEATED = "The server that attacks is another one, which is refused and ends."

MODEL = "tiny/classifier"
END_DEADLINE_S = 60.0


ON_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.verify(part="attacks"))
"""Where two servers with replicas are started once more. That a second one is refused there, and that a server which
lost its place ends, is asked of one without replicas."""


@pytest.fixture(scope="module", params=["sqlite", ON_POSTGRESQL])
def database_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that two servers are told to use."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('shared')}/shared.db"
    server: str = request.getfixturevalue("postgresql_server")
    return url_of_schema(server, create_schema(server))


@pytest.fixture(scope="module")
def first(database_url: str, zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one replica."""
    with Server(tmp_path_factory.mktemp("first"), zoo, "--database-url", database_url) as server:
        server.put(MODEL, capacity={"min": 1, "desired": 1, "max": 1})
        server.wait_for(MODEL, status="running", ready=1)
        yield server


def run_to_its_end(server: Server) -> tuple[int, str]:
    """A server that is expected to be refused: its exit code, and what it said."""
    with server.log.open("ab") as log:
        server.process = subprocess.Popen(server._command, env=server._environ, stdout=log, stderr=log)
    try:
        code = server.process.wait(END_DEADLINE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        code = -1
    finally:
        server.client.close()
    return code, " ".join(server.log.read_text().split())


def check_refused(second: Server, first: Server) -> None:
    code, said = run_to_its_end(second)
    assert code == 1, said
    assert f"Another modelyard server (pid {first.process.pid} on " in said  # type: ignore[union-attr]
    assert "fix: stop it, or give this server a database of its own" in said
    assert "password" not in said
    assert "Traceback" not in said


def lives_that_go_on(server: Server) -> list[bool]:
    """For each instance on the bill, whether it is said to run still: as soon as what happened has been written, for
    which a reader is told to come back on a busy machine."""

    def find_bill() -> httpx.Response | None:
        answer = server.client.get("/models/v2/usage", params={"lines": "true"})
        return answer if answer.status_code != 503 else None

    return [line["open"] for line in wait_until(find_bill).json()["output"]["lines"]]


def test_a_second_server_on_one_database_is_refused_and_the_first_goes_on(
    first: Server, database_url: str, zoo: Path, tmp_path: Path
) -> None:
    workers = first.worker_pids()
    check_refused(Server(tmp_path, zoo, "--database-url", database_url), first)
    assert first.worker_pids() == workers != []
    assert first.run(MODEL, text="hello")
    assert lives_that_go_on(first) == [True]


def test_a_server_that_was_killed_is_followed_at_once_and_its_books_are_closed(
    first: Server, database_url: str, zoo: Path, tmp_path: Path
) -> None:
    first.kill()
    first.start(warm=False, boots=False)  # the same folder
    first.kill()
    with Server(tmp_path, zoo, "--database-url", database_url) as second:  # another one
        second.wait_for(MODEL, status="running", ready=1)
        lives = lives_that_go_on(second)
        assert lives.count(True) == 1
        assert False in lives
        assert second.run(MODEL, text="hello")
        assert not (second.data_dir / "modelyard.db").exists()


def test_on_postgresql_a_second_is_refused_and_one_whose_place_was_taken_while_its_connection_was_broken_ends(
    postgresql_url: str, zoo: Path, tmp_path: Path
) -> None:
    """What an intruder does here, another server does when it starts while the first cannot be reached."""
    server = Server(tmp_path, zoo, "--database-url", postgresql_url, boots=False)
    server.start(warm=False)
    (tmp_path / "second").mkdir()
    check_refused(Server(tmp_path / "second", zoo, "--database-url", postgresql_url), server)
    assert server.is_up(warm=False)
    process = server.process
    assert process is not None
    find = (
        "SELECT pid, classid::bigint, objid::bigint FROM pg_locks JOIN pg_stat_activity USING (pid)"
        " WHERE locktype = 'advisory' AND application_name LIKE %s"
    )
    take = "SELECT 1 WHERE pg_try_advisory_lock(%s::int, %s::int)"
    holder = (f"pid {process.pid} on %",)
    try:
        with psycopg.connect(postgresql_url, autocommit=True) as intruder:
            ((pid, classid, objid),) = intruder.execute(find, holder).fetchall()
            intruder.execute("SELECT pg_terminate_backend(%s)", (pid,))
            # A broken connection alone ends nothing: the lock is taken anew.
            wait_until(lambda: [row for row in intruder.execute(find, holder).fetchall() if row[0] != pid])
            assert server.is_up(warm=False)

            ((pid, *_),) = intruder.execute(find, holder).fetchall()
            intruder.execute("SELECT pg_terminate_backend(%s)", (pid,))
            signed = objid - 2**32 if objid >= 2**31 else objid
            wait_until(lambda: intruder.execute(take, (classid, signed)).fetchall())
            wait_until(lambda: process.poll() is not None, END_DEADLINE_S)
            assert "This one ends." in server.log.read_text()
    finally:
        server.client.close()
        server.stop()
