"""`modelyard keys`: API keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import output
from modelyard.cli.administering import open_administration
from modelyard.cli.amounts import parse_count
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, Server
from modelyard.clock import iso
from modelyard.config import FIRST_ACCOUNT, Resolved
from modelyard.errors import InvalidRequest

if TYPE_CHECKING:
    from modelyard.accounts.administration import ListedKey

COLUMNS = ("id", "account", "name", "key", "created", "revoked", "#per minute")
AS_THE_SERVER_SAYS = "what the server's --rate-limit says"

app = typer.Typer(
    no_args_is_help=True, help="Make, list, limit and revoke API keys. Works with and without a running server."
)

RateLimit = Annotated[
    str | None,
    typer.Option(
        metavar="N", help=f"inferences it may ask for per minute; 0: as many as it likes; none: {AS_THE_SERVER_SAYS}"
    ),
]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="the key's id, or what `keys ls` shows of it")]


@app.command()
@with_settings("data_dir", "database_url")
def create(
    resolved: Resolved,
    name: Annotated[str, typer.Argument(help="what to call it, e.g. who or what will use it", show_default=False)],
    account: Annotated[str, typer.Option(help="whose key it is; a new name makes a new account")] = FIRST_ACCOUNT,
    rate_limit: RateLimit = None,
    server: Server = None,
) -> None:
    """Make a key and print it, and nothing else, on standard output. It is shown this once."""
    limit = None if rate_limit is None else parse_count(rate_limit, "--rate-limit", lifts=AS_THE_SERVER_SAYS)
    with open_administration(resolved.settings, server) as administration:
        made = administration.create_key(name, account, limit)
    typer.echo(made.secret)


@app.command("ls")
@with_settings("data_dir", "database_url")
def list_keys(
    resolved: Resolved,
    account: Annotated[str | None, typer.Option(help="only this account's keys")] = None,
    server: Server = None,
    json: Json = False,
) -> None:
    """List the keys: their first characters only, for the keys themselves are not stored."""
    with open_administration(resolved.settings, server) as administration:
        shown = [describe(listed) for listed in administration.list_keys(account)]
    if json:
        return output.print_json(shown)
    rows = ([*each.values()] for each in shown)
    output.print_table(COLUMNS, rows, empty="There are no keys yet. `modelyard keys create NAME` makes one.")
    return None


@app.command()
@with_settings("data_dir", "database_url")
def revoke(
    resolved: Resolved,
    key: KeyId,
    server: Server = None,
) -> None:
    """End a key; a running server refuses it within seconds."""
    with open_administration(resolved.settings, server) as administration:
        administration.revoke_key(key)
    typer.echo(f"{key} is revoked.", err=True)


@app.command("set")
@with_settings("data_dir", "database_url")
def set_limit(
    resolved: Resolved,
    key: KeyId,
    rate_limit: RateLimit = None,
    server: Server = None,
) -> None:
    """Change a key's rate limit; a running server heeds it within seconds."""
    if rate_limit is None:
        raise InvalidRequest("Nothing to change: say --rate-limit N.")
    limit = parse_count(rate_limit, "--rate-limit", lifts=AS_THE_SERVER_SAYS)
    with open_administration(resolved.settings, server) as administration:
        administration.set_rate_limit(key, limit)
    typer.echo(f"The rate limit of {key} is changed.", err=True)


def describe(listed: ListedKey) -> dict[str, str | int | None]:
    """A key as it may be shown. `rate_limit`: as `Key` has it, None is the server's setting."""
    key = listed.key
    return {
        "id": key.id,
        "account": listed.account_name,
        "name": key.name,
        "prefix": key.prefix,
        "created": iso(key.created_at),
        "revoked": None if key.revoked_at is None else iso(key.revoked_at),
        "rate_limit": key.rate_limit,
    }
