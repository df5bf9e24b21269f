"""`modelyard bench`: how quick a running server is with one model, for one client and for many."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.client import Client, find_key, open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, ModelId, Url
from modelyard.cli.progress import Progress
from modelyard.cli.run import read_input, read_params
from modelyard.config import Resolved
from modelyard.errors import InvalidRequest

if TYPE_CHECKING:
    from modelyard.cli.http_load import Figures

CLIENTS = "1,4,16,64"
MOST_CLIENTS = 1024
COLUMNS = ("#clients", "#requests/s", "#p50 ms", "#p99 ms", "#first p50", "#first p99", "requests/s")
BAR = 30
"""Characters of the longest bar."""


@with_settings("data_dir")
def bench(
    resolved: Resolved,
    model: ModelId,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="INPUT", help="text, or JSON; by default the example of the model's task", show_default=False
        ),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="a parameter, its value JSON or text; repeatable"),
    ] = None,
    clients: Annotated[
        str, typer.Option(metavar="N,...", help="how many clients at once, one after the other")
    ] = CLIENTS,
    seconds: Annotated[float, typer.Option(min=0.1, help="how long each of these asks")] = 10.0,
    url: Url = None,
    json: Json = False,
) -> None:
    """Measure a model on a running server: requests per second, latency, and the time to a stream's first piece.

    Each client asks again as soon as it was answered. The requests are metered, limited and billed like any others.
    """
    import asyncio

    from modelyard.cli.http_load import Question, measure

    numbers = read_clients(clients)
    with open_client(url, resolved.settings) as client, Progress(f"asking for {model}") as progress:
        body = read_body(client, model, text, read_params(param or []))
        question = Question(client.url, find_key(client.url, resolved.settings.data_dir), model, body)
        with client.run(model, {**body, "stream": False}):  # a cold model is not what is measured
            pass
        figures = []
        for number in numbers:
            progress.step(f"{number} clients, {seconds:g} s")
            figures.append(asyncio.run(measure(question, number, seconds)))
    show(model, figures, json=json)


def read_clients(text: str) -> list[int]:
    """The numbers of clients. Raises InvalidRequest."""
    try:
        numbers = [int(each) for each in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(1 <= number <= MOST_CLIENTS for number in numbers):
        raise InvalidRequest(field="--clients", got=text, accepted=f"numbers from 1 to {MOST_CLIENTS}, e.g. {CLIENTS}")
    return numbers


def read_body(client: Client, model_id: str, text: str | None, params: dict[str, Any]) -> dict[str, Any]:
    """What to ask. Raises InvalidRequest where nothing was said and the task has no example here."""
    from modelyard.tasks.registry import find_task

    task = find_task(find_task_id(client, model_id))
    if text is None and task is None:
        raise InvalidRequest(
            f"input: missing; accepted: text or JSON after the model, as the server knows no {model_id}, of whose task "
            "the example would be sent; `modelyard ls` lists those it knows",
            field="input",
        )
    body = {"input": read_input(text)} if text is not None or task is None else dict(task.example)
    streams = task is not None and task.streams
    return {**body, "params": {**body.get("params", {}), **params}, "stream": streams}


def find_task_id(client: Client, model_id: str) -> str:
    """The task of a model, by what the server knows of it; empty where it knows none of that name."""
    listed = client.ask("GET", "list/models", query={"modelId": model_id})
    return next((str(each["task"]) for each in listed), "")


def show(model_id: str, figures: list[Figures], *, json: bool) -> None:
    """Prints the figures, the table's last column as bars."""
    if json:
        return output.print_json({"modelId": model_id, "figures": [asdict(each) for each in figures]})
    most = max(each.requests_per_s for each in figures)
    rows = (
        (
            each.clients,
            f"{each.requests_per_s:.1f}",
            *(None if value is None else f"{value:.1f}" for value in latencies_ms(each)),
            "█" * max(1, round(BAR * each.requests_per_s / most)),
        )
        for each in figures
    )
    output.print_table(COLUMNS, rows, empty="")
    return None


def latencies_ms(figures: Figures) -> tuple[float | None, ...]:
    """All of them, in the order of the columns."""
    return figures.p50_ms, figures.p99_ms, figures.first_p50_ms, figures.first_p99_ms
