"""`modelyard events`: what happened to a model's cluster, and why."""

from __future__ import annotations

import json as json_format
import time
from typing import Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.client import Client, open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Follow, ModelId, Url
from modelyard.config import Resolved

LOOK_AGAIN_S = 1.0


@with_settings("data_dir")
def events(
    resolved: Resolved,
    model: ModelId,
    follow: Follow = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="how many of the latest to begin with")] = 100,
    url: Url = None,
    json: Annotated[bool, typer.Option("--json", help="print JSON, an event a line")] = False,
) -> None:
    """Print what happened to a model's cluster, oldest first."""
    with open_client(url, resolved.settings) as client:
        seen = show(ask(client, model, limit=limit), 0, json=json)
        if not seen and not follow:
            output.stderr().print(f"Nothing has happened to {model} yet for your account.", markup=False)
        while follow:
            time.sleep(LOOK_AGAIN_S)
            seen = show(ask(client, model, after=seen), seen, json=json)


def ask(client: Client, model_id: str, **query: int) -> list[dict[str, Any]]:
    """The server's list."""
    found: list[dict[str, Any]] = client.ask("GET", f"events/{model_id}", query=query)
    return found


def show(found: list[dict[str, Any]], seen: int, *, json: bool) -> int:
    """Prints events; returns the id of the last one, `seen` when there is none."""
    for event in found:
        words = f"{event['at']}  {event['kind']:12}  {event['message']}"
        typer.echo(json_format.dumps(event, ensure_ascii=False) if json else words)
    return int(found[-1]["id"]) if found else seen
