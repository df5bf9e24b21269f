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


def test_the_rules_are_right() -> None:
    subprocess.run([program("promtool"), "check", "rules", ALERTS], check=True)


def test_alerts_come_where_they_are_due(tmp_path: Path) -> None:
    cases = (Path(__file__).parent / "alerts.yml").read_text("utf-8").replace("RULES", str(ALERTS))
    (tmp_path / "cases.yml").write_text(cases)
    done = subprocess.run(
        [program("promtool"), "test", "rules", tmp_path / "cases.yml"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_the_dashboard_finds_something_on_servers_that_work(tmp_path: Path) -> None:
    """One that runs a model, and one that has an accelerator."""
    build("gpt2", tmp_path / "models" / MODEL)
    (tmp_path / "other").mkdir()
    ports = [free_port(), free_port()]
    flags = [("--metrics-port", str(port)) for port in ports]
    accelerator = ("--device-memory", "cuda:0=2")
    with (
        Server(tmp_path, tmp_path / "models", *flags[0]) as server,
        Server(tmp_path / "other", tmp_path / "models", *flags[1], *accelerator, boots=False),
        prometheus(tmp_path, *ports) as running,
    ):

        def work() -> None:
            """A boot, an answer and a stream."""
            server.delete(MODEL)
            params = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
            server.run(MODEL, text="the cat", params=params)
            assert server.post(MODEL, text="the cat", params=params, stream=True).status_code == 200

        lacking = {(panel, query) for panel, queries in queries_of_the_dashboard().items() for query in queries}

        def have_all_found_numbers() -> bool:
            work()
            lacking.difference_update([each for each in lacking if running.numbers(each[1])])
            return not lacking

        try:
            wait_until(have_all_found_numbers, every_s=1.0)
        except AssertionError as error:
            raise AssertionError(f"these found nothing: {sorted(lacking)}") from error
        assert [each["value"][1] for each in running.query('up{job="modelyard"}')] == ["1", "1"]
        rules = running.client.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
        assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(conditions_of_the_alerts(), "ok")
        assert [rule["name"] for rule in rules if rule["state"] == "firing"] == []
