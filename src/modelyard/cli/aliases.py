"""`modelyard aliases`: names of accounts' own that stand for models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.administering import open_administration
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, Server
from modelyard.clock import iso
from modelyard.config import FIRST_ACCOUNT, Resolved
from modelyard.records.clusters import MAX_REPLICAS, Changes

if TYPE_CHECKING:
    from modelyard.accounts.administration import ListedAlias

OF = "of a cluster that a request through it makes: "
COLUMNS = ("alias", "account", "model", "task", "#min", "#desired", "#max", "changed")

app = typer.Typer(
    no_args_is_help=True,
    help="Give models other names, for one account: what its clients send, such as gpt-4o-mini, is the model you say. "
    "Works with and without a running server, which heeds a change within seconds.",
)

Name = Annotated[str, typer.Argument(help="what clients call it: one word, or org/name", show_default=False)]
Account = Annotated[str, typer.Option(help="whose alias it is, by name or id")]


@app.command("ls")
@with_settings("data_dir", "database_url")
def list_aliases(
    resolved: Resolved,
    account: Annotated[str | None, typer.Option(help="only this account's")] = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """List the aliases: for whom each stands for which model."""
    with open_administration(resolved.settings, server) as administration:
        shown = [describe(listed) for listed in administration.list_aliases(account)]
    if json:
        return output.print_json(shown)
    rows = ([*each.values()] for each in shown)
    output.print_table(COLUMNS, rows, empty="There are no aliases yet. `modelyard aliases set NAME MODEL` makes one.")
    return None


@app.command("set")
@with_settings("data_dir", "database_url")
def set_alias(
    resolved: Resolved,
    name: Name,
    model: Annotated[str, typer.Argument(help="org/name: what it stands for", show_default=False)],
    account: Account = FIRST_ACCOUNT,
    task: Annotated[str | None, typer.Option(help="refuse requests where the model is for another task")] = None,
    least: Annotated[
        int | None, typer.Option("--min", min=0, max=MAX_REPLICAS, help=f"{OF}instances kept without requests")
    ] = None,
    desired: Annotated[
        int | None, typer.Option("--desired", min=0, max=MAX_REPLICAS, help=f"{OF}instances to start with")
    ] = None,
    most: Annotated[int | None, typer.Option("--max", min=0, max=MAX_REPLICAS, help=f"{OF}most instances")] = None,
    server: Server = None,
) -> None:
    """Have a name stand for a model from now on, whatever it stood for before."""
    capacity = Changes(least, desired, most)
    with open_administration(resolved.settings, server) as administration:
        listed = administration.set_alias(
            name, model, account, task=task, capacity=None if capacity == Changes() else capacity
        )
    typer.echo(f"{name} is {listed.alias.model_id} to {listed.account_name}.", err=True)


@app.command()
@with_settings("data_dir", "database_url")
def rm(
    resolved: Resolved,
    name: Name,
    account: Account = FIRST_ACCOUNT,
    server: Server = None,
) -> None:
    """Remove an alias. The clusters it has made stay."""
    with open_administration(resolved.settings, server) as administration:
        administration.remove_alias(name, account)
    typer.echo(f"{name} is removed.", err=True)


def describe(listed: ListedAlias) -> dict[str, Any]:
    """An alias as it may be shown."""
    alias, capacity = listed.alias, listed.alias.capacity
    return {
        "alias": alias.name,
        "account": listed.account_name,
        "model": alias.model_id,
        "task": alias.task,
        "min": None if capacity is None else capacity.min,
        "desired": None if capacity is None else capacity.desired,
        "max": None if capacity is None else capacity.max,
        "changed": iso(alias.modified_at),
    }
