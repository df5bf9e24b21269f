"""`modelyard models`: what a model is; and which accounts may use private and gated models of the hub, in the database
itself or at a server elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli import models, output
from modelyard.cli.administering import open_administration
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, ModelId, Server
from modelyard.config import Resolved

app = typer.Typer(
    no_args_is_help=True,
    help="Say what a model is; and who may use private and gated models of the hub, which are fetched with your token: "
    "by default only the first account. Works with and without a running server, which heeds a change within seconds.",
)

To = Annotated[str, typer.Option("--account", help="the account's name, or its id", show_default=False)]


app.command()(models.show)


@app.command("ls")
@with_settings("data_dir", "database_url")
def list_restricted(resolved: Resolved, server: Server = None, json: Json = False) -> None:
    """List the private and gated models this server has met, and who may use them besides the first account."""
    with open_administration(resolved.settings, server) as administration:
        shown = [{"model": each.model_id, "accounts": each.accounts} for each in administration.list_restricted()]
    if json:
        return output.print_json(shown)
    rows = ((each["model"], ", ".join(each["accounts"]) or "-") for each in shown)
    output.print_table(("model", "accounts"), rows, empty="No private or gated model has been met yet.")
    return None


@app.command()
@with_settings("data_dir", "database_url")
def share(resolved: Resolved, model: ModelId, account: To, server: Server = None) -> None:
    """Let an account use a private or gated model."""
    with open_administration(resolved.settings, server) as administration:
        shared = administration.share_model(model, account)
    typer.echo(f"{shared.name} may use {model}.", err=True)


@app.command()
@with_settings("data_dir", "database_url")
def unshare(resolved: Resolved, model: ModelId, account: To, server: Server = None) -> None:
    """Take that back. Instances that run already are not ended."""
    with open_administration(resolved.settings, server) as administration:
        changed = administration.unshare_model(model, account)
    typer.echo(f"{changed.name} may no longer use {model}.", err=True)
