"""`modelyard ps`, `start`, `stop`, `rm`: clusters of a running server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import typer

from modelyard.cli import output
from modelyard.cli.client import open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, ModelId, Url
from modelyard.config import Resolved

COLUMNS = ("model", "status", "#instances", "#ready", "#in flight", "#queued", "min/desired/max", "idles out")


@with_settings("data_dir")
def ps(resolved: Resolved, url: Url = None, json: Json = False) -> None:
    """List your clusters: status, replicas, load, and when they idle out."""
    with open_client(url, resolved.settings) as client:
        clusters = client.ask("GET", "list/clusters")
    if json:
        return output.print_json(clusters)
    now = datetime.now(UTC)
    rows = (row(each, now) for each in clusters)
    output.print_table(COLUMNS, rows, empty="You have no clusters. `modelyard start MODEL` creates one.")
    return None


@with_settings("data_dir")
def start(resolved: Resolved, model: ModelId, url: Url = None) -> None:
    """Switch a model's cluster on; creates it where there is none."""
    with open_client(url, resolved.settings) as client:
        client.ask("PUT", model, {})
    typer.echo(f"{model} is starting; `modelyard ps` shows how far it is.", err=True)


@with_settings("data_dir")
def stop(resolved: Resolved, model: ModelId, url: Url = None) -> None:
    """Switch a model's cluster off: its replicas end, its settings stay. `modelyard start` is the opposite."""
    with open_client(url, resolved.settings) as client:
        client.ask("PATCH", model, {"status": "off"})
    typer.echo(f"{model} is off; `modelyard start {model}` switches it on again.", err=True)


@with_settings("data_dir")
def rm(resolved: Resolved, model: ModelId, url: Url = None) -> None:
    """Delete a model's cluster: its replicas end, its settings are forgotten. The model's files stay."""
    with open_client(url, resolved.settings) as client:
        client.ask("DELETE", model)
    typer.echo(f"The cluster of {model} is deleted.", err=True)


def row(cluster: dict[str, Any], now: datetime) -> tuple[object, ...]:
    """A cluster as a line of the table."""
    capacity = cluster["capacity"]
    return (
        cluster["modelId"],
        cluster["status"],
        cluster["instances"],
        cluster["ready"],
        cluster["inFlight"],
        cluster["queued"],
        f"{capacity['min']}/{capacity['desired']}/{capacity['max']}",
        until(cluster["expiresAt"], now),
    )


def until(moment: str | None, now: datetime) -> str | None:
    """How long from `now` to an ISO 8601 moment, as people say it: in 45 s, in 12 min, in 3 h."""
    if moment is None:
        return None
    left_s = max(0.0, (datetime.fromisoformat(moment) - now).total_seconds())
    for unit, size in (("h", 3600), ("min", 60)):
        if left_s >= 2 * size:
            return f"in {left_s / size:.0f} {unit}"
    return f"in {left_s:.0f} s"
