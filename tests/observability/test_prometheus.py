"""The shipped rules by Prometheus's own tools, and the dashboard's queries on what it has read of a real server."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.builders import build
from tests.observability.rules import (
    ALERTS,
    conditions_of_the_alerts,
    program,
    prometheus,
    queries_of_the_dashboard,
)
from tests.serving import Server, free_port, wait_until

pytestmark = pytest.mark.verify(part="observability")

MODEL = "tiny/gpt2"
ACCELERATORS = "Memory of accelerators"
"""The one panel that a machine may have nothing for."""


def test_the_rules_are_right() -> None:
    subprocess.run([program("promtool"), "check", "rules", ALERTS], check=True)


def test_alerts_come_where_they_are_due(tmp_path: Path) -> None:
    cases = (Path(__file__).parent / "alerts.yml").read_text("utf-8").replace("RULES", str(ALERTS))
    (tmp_path / "cases.yml").write_text(cases)
    done = subprocess.run(
        [program("promtool"), "test", "rules", tmp_path / "cases.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_the_dashboard_finds_something_on_a_server_that_works(tmp_path: Path) -> None:
    build("gpt2", tmp_path / "models" / MODEL)
    port = free_port()
    with (
        Server(tmp_path, tmp_path / "models", "--metrics-port", str(port)) as server,
        prometheus(tmp_path, port) as running,
    ):

        def work() -> None:
            params = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
            server.run(MODEL, text="the cat", params=params)
            assert server.post(MODEL, text="the cat", params=params, stream=True).status_code == 200

        def lacking() -> list[str]:
            work()
            return [
                f"{panel}: {query}"
                for panel, queries in queries_of_the_dashboard().items()
                if panel != ACCELERATORS
                for query in queries
                if not running.query(query)
            ]

        seen: list[list[str]] = []
        try:
            wait_until(lambda: not seen.append(lacking()) and not seen[-1], every_s=1.0)  # type: ignore[func-returns-value]
        except AssertionError as error:
            raise AssertionError(f"these found nothing: {seen[-1]}") from error
        for query in queries_of_the_dashboard()[ACCELERATORS]:
            running.query(query)
        assert running.query('up{job="modelyard"}')[0]["value"][1] == "1"
        rules = running.client.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
        assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(conditions_of_the_alerts(), "ok")
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
