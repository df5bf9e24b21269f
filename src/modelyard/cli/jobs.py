"""`modelyard request` and `jobs`: having models fetched and measured, and how far that has got."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.client import Client, open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, ModelId, Url
from modelyard.config import Resolved
from modelyard.errors import InvalidRequest

COLUMNS = ("model", "status", "message", "#attempts", "asked", "changed")
LOOK_AGAIN_S = 0.5
OVER = ("done", "failed")
CANCEL = "cancel"


@with_settings("data_dir")
def request(
    resolved: Resolved,
    model: ModelId,
    retry: Annotated[bool, typer.Option(help="once more, though the last job failed or is done")] = False,
    wait: Annotated[bool, typer.Option(help="wait until it is over, and say how far it is")] = False,
    url: Url = None,
) -> None:
    """Have the server fetch a model, or make a variant such as ORG/NAME.onnx.8-bit, and measure what it needs."""
    with open_client(url, resolved.settings) as client:
        client.ask("POST", f"request/{model}", body={"retry": True} if retry else {})
        job = follow(client, model) if wait else ask(client, model)
    typer.echo(f"{job['status']}: {job['message']}")
    if job["status"] == "failed":
        raise typer.Exit(1)


@with_settings("data_dir")
def jobs(
    resolved: Resolved,
    action: Annotated[
        str | None,
        typer.Argument(
            help="cancel: end a model's job, whoever has asked for it; for the operator. Else jobs are listed.",
            metavar=CANCEL,
            show_default=False,
        ),
    ] = None,
    model: Annotated[str | None, typer.Argument(help="org/name, of the job to cancel", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="how many of the latest")] = 100,
    everybody: Annotated[bool, typer.Option("--all", help="those of all accounts; for the operator")] = False,
    account: Annotated[str | None, typer.Option(help="this account's, by name or id; for the operator")] = None,
    url: Url = None,
    json: Json = False,
) -> None:
    """List the jobs you asked for, those that changed last first; or have one cancelled."""
    if (action is None) is not (model is None) or action not in (None, CANCEL):
        got = " ".join(filter(None, (action, model)))
        raise InvalidRequest(field="jobs", got=got, accepted=f"{CANCEL} MODEL, or nothing")
    with open_client(url, resolved.settings) as client:
        if model is not None:
            client.administer("DELETE", "jobs", query={"model": model})
            return typer.echo(f"The job of {model} is cancelled.", err=True)
        if account is None and not everybody:
            found = client.ask("GET", "list/jobs", query={"limit": limit})
        else:
            whose = {} if account is None else {"account": account}
            found = client.administer("GET", "jobs", query={"limit": limit, **whose})
    if json:
        return output.print_json(found)
    empty = "No model was asked for yet. `modelyard request MODEL` asks for one."
    output.print_table(COLUMNS, map(row, found), empty=empty)
    return None


def ask(client: Client, model_id: str) -> dict[str, Any]:
    """One job as it is now."""
    job: dict[str, Any] = client.ask("GET", f"request/{model_id}")
    return job


def follow(client: Client, model_id: str) -> dict[str, Any]:
    """The job once it is over; each new message goes to standard error."""
    printed = None
    while True:
        job = ask(client, model_id)
        if job["status"] in OVER:
            return job
        if job["message"] != printed:
            printed = job["message"]
            output.stderr().print(printed, markup=False)
        time.sleep(LOOK_AGAIN_S)


def row(job: dict[str, Any]) -> tuple[object, ...]:
    """A job as a line of the table."""
    return (job["modelId"], job["status"], job["message"], job["attempts"], job["created"], job["modified"])
