"""Two servers as processes of their own, on a real Ray cluster and a real PostgreSQL: both answer, whichever leads."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.builders import build
from tests.engine.harness import eventually
from tests.engine.ray.cluster import open_cluster

KEY = "k" * 32
FOLLOWED_S = 3.0


@pytest.mark.verify(part="ray")
async def test_the_next_server_goes_on_with_the_replica_of_one_that_is_stopped_or_killed(
    tmp_path: Path, postgresql_url: str
) -> None:
    build("gpt2", tmp_path / "models" / "tests" / "gpt2")
    processes = []
    async with (
        open_cluster(tmp_path / "logs", "head", echoes=False) as cluster,
        httpx.AsyncClient(timeout=300) as client,
    ):
        with httpx.Client(timeout=5) as asked:

            def start(number: int) -> str:
                port = 18_300 + number
                options = {
                    "port": port,
                    "data-dir": tmp_path / f"data-{number}",
                    "models-dir": tmp_path / "models",
                    "database-url": postgresql_url,
                    "engine": "ray",
                    "ray-address": cluster.address,
                }
                command = [word for name, value in options.items() for word in (f"--{name}", str(value))]
                environ = {**os.environ, **cluster.environ, "MODELYARD_ADMIN_KEY": KEY}
                program = [sys.executable, "-m", "modelyard", "serve", *command]
                processes.append(subprocess.Popen(program, env=environ))
                return f"http://127.0.0.1:{port}"

            def status(url: str) -> str:
                try:
                    return str(asked.get(f"{url}/health").json()["status"])
                except httpx.HTTPError:
                    return "none"

            async def ask(url: str) -> str:
                body = {"text": "hello", "params": {"max_new_tokens": 3}}
                headers = {"authorization": f"Key {KEY}"}
                answer = await client.post(f"{url}/models/v2/tests/gpt2", headers=headers, json=body)
                return answer.text

            try:
                first = start(0)
                await eventually(lambda: status(first) == "ok")
                second = start(1)
                await eventually(lambda: status(second) == "ok")
                said = await ask(first)
                assert await ask(second) == said

                processes[0].send_signal(signal.SIGSTOP)
                began = time.monotonic()
                assert await ask(second) == said
                assert time.monotonic() - began <= FOLLOWED_S
                assert await ask(first) == said  # its gateway follows the other server
                processes[0].send_signal(signal.SIGCONT)
                assert await ask(first) == said

                processes[1].kill()
                began = time.monotonic()
                assert await ask(first) == said
                assert time.monotonic() - began <= FOLLOWED_S
                with psycopg.connect(postgresql_url) as connection:
                    lives = connection.execute("SELECT ready_at IS NOT NULL, ended_at FROM instances").fetchall()
                assert lives == [(True, None)]
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
