"""The dashboard and the alerts name metrics that there are, and show each that an operator looks for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from tests.observability.rules import (
    ALERTS,
    DASHBOARD,
    DEPLOY,
    conditions_of_the_alerts,
    metrics_in,
    queries_of_the_dashboard,
)

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
"""A test beside the metrics themselves holds that it lists all of them and no other."""


def listed() -> set[str]:
    return set(re.findall(r"`(modelyard_\w+)`", REFERENCE.read_text("utf-8")))


def test_every_metric_that_a_query_names_is_one_that_there_is() -> None:
    queries = [query for each in queries_of_the_dashboard().values() for query in each]
    named = set().union(*map(metrics_in, [*queries, *conditions_of_the_alerts().values()]))
    assert len(named) > 15
    assert named <= listed()


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for queries in queries_of_the_dashboard().values() for query in queries for name in metrics_in(query)}
    assert listed() - shown == set()


def test_panels_have_titles_of_their_own_and_do_not_overlap() -> None:
    panels = json.loads(DASHBOARD.read_text("utf-8"))["panels"]
    assert len({panel["title"] for panel in panels}) == len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for panel in panels
        for at in [panel["gridPos"]]
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_to_do_and_is_tested() -> None:
    rules = [rule for group in yaml.safe_load(ALERTS.read_text("utf-8"))["groups"] for rule in group["rules"]]
    tested = yaml.safe_load((Path(__file__).parent / "alerts.yml").read_text("utf-8"))["tests"]
    outcomes = {
        (case["alertname"], bool(case.get("exp_alerts"))) for test in tested for case in test["alert_rule_test"]
    }
    for rule in rules:
        assert {"summary", "description"} <= rule["annotations"].keys(), rule["alert"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert {(rule["alert"], True), (rule["alert"], False)} <= outcomes
    assert {name for name, _ in outcomes} == {rule["alert"] for rule in rules}


def test_prometheus_is_told_of_the_job_that_alerts_name() -> None:
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    assert [each["job_name"] for each in config["scrape_configs"]] == ["modelyard"]
    assert config["rule_files"] == [ALERTS.name]
