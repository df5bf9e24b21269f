"""The whole server on PostgreSQL: what SQLite does by default works by URL, and survives a kill."""

from pathlib import Path

import psycopg

from tests.serving import Server


def test_a_server_on_postgresql_serves_and_comes_back_after_a_kill(postgresql_url: str, zoo: Path, tmp_path: Path):
    with Server(tmp_path, zoo, "--database-url", postgresql_url) as server:
        server.put("tiny/classifier", capacity={"min": 1, "desired": 1, "max": 2}, timeout=600)
        assert server.run("tiny/classifier", text="hello")
        assert not (server.data_dir / "modelyard.db").exists()
        server.kill()
        server.start()
        server.wait_for("tiny/classifier", status="running", ready=1)
        assert server.run("tiny/classifier", text="hello")
        with psycopg.connect(postgresql_url) as connection:
            lives = connection.execute("select ended_at is null from instances order by created_at").fetchall()
        assert lives == [(False,), (True,)]
