"""What deploy/ ships for Prometheus and Grafana, and Prometheus itself."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.serving import free_port, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD = DEPLOY / "grafana" / "modelyard.json"
VARIABLES = {"$model": ".*", "$__rate_interval": "1m"}
"""What Grafana puts in place of each in a query."""
ENDINGS = ("_bucket", "_sum", "_count")
"""Of a histogram's samples."""


def queries_of_the_dashboard() -> dict[str, list[str]]:
    """By panel, as Grafana sends them."""
    found = {}
    for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"]:
        if targets := panel.get("targets"):
            found[panel["title"]] = [filled(target["expr"]) for target in targets]
    return found


def filled(query: str) -> str:
    """A query with its variables' values."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query


def conditions_of_the_alerts() -> dict[str, str]:
    """By the alert's name."""
    groups = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def metrics_in(query: str) -> set[str]:
    """The metrics of ours that a query names, a histogram as itself."""
    names = set(re.findall(r"\bmodelyard_\w+", query))
    return {next((name.removesuffix(end) for end in ENDINGS if name.endswith(end)), name) for name in names}


def program(name: str) -> str:
    """Where one of Prometheus's programs is; fails with what installs it."""
    path = shutil.which(name)
    assert path is not None, f"{name} is not installed; on Debian: apt-get install prometheus"
    return path


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.client = httpx.Client(base_url=url, timeout=60.0)

    def query(self, text: str) -> list[dict[str, Any]]:
        """The series that a query returns now."""
        answer = self.client.get("/api/v1/query", params={"query": text})
        assert answer.status_code == 200, f"{text}: {answer.text}"
        return list(answer.json()["data"]["result"])

    def numbers(self, text: str) -> list[float]:
        """What these series are now, as far as they are numbers: a share of nothing is none."""
        values = (float(each["value"][1]) for each in self.query(text))
        return [value for value in values if not math.isnan(value)]


@contextmanager
def prometheus(folder: Path, *metrics_ports: int) -> Iterator[Prometheus]:
    """Reads the metrics of servers every second, with the rules that are shipped."""
    port = free_port()
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    config["global"]["scrape_interval"] = config["global"]["evaluation_interval"] = "1s"
    config["rule_files"] = [str(ALERTS)]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{each}" for each in metrics_ports]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [
        program("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (folder / "prometheus.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    running = Prometheus(f"http://127.0.0.1:{port}")

    def is_ready() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        try:
            return running.client.get("/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_until(is_ready)
        yield running
    finally:
        running.client.close()
        process.terminate()
        process.wait(60)
