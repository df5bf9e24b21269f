"""`modelyard keys`: API keys, in the database itself, so that they work without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import output
from modelyard.cli.database import no_account, open_store
from modelyard.cli.flags import with_settings
from modelyard.cli.limits import parse_count
from modelyard.cli.options import Json
from modelyard.clock import SystemClock, iso
from modelyard.config import FIRST_ACCOUNT, Resolved
from modelyard.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from modelyard.records.accounts import Key

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
) -> None:
    """Make a key and print it, and nothing else, on standard output. It is shown this once."""
    from modelyard.accounts.keys import hash_key, new_key, shown_prefix

    for field, value in (("name", name), ("account", account)):
        if not value.strip():
            raise InvalidRequest(field=field, got=value, accepted="at least one letter")
    limit = None if rate_limit is None else parse_count(rate_limit, "--rate-limit", lifts=AS_THE_SERVER_SAYS)
    key = new_key()
    with open_store(resolved.settings) as store:
        now = SystemClock().now()
        owner = store.accounts.ensure(account, now)
        store.keys.create(owner.id, name, hash_key(key), shown_prefix(key), now, rate_limit=limit)
    typer.echo(key)


@app.command("ls")
@with_settings("data_dir", "database_url")
def list_keys(
    resolved: Resolved,
    account: Annotated[str | None, typer.Option(help="only this account's keys")] = None,
    json: Json = False,
) -> None:
    """List the keys: their first characters only, for the keys themselves are not stored."""
    with open_store(resolved.settings) as store:
        accounts = store.accounts.list()
        names = {each.id: each.name for each in accounts}
        if account is not None and account not in names.values():
            raise no_account(account, accounts)
        found = [key for key in store.keys.list() if account in (None, names[key.account_id])]
    if json:
        return output.print_json([describe(key, names[key.account_id]) for key in found])
    output.print_table(
        COLUMNS,
        ([*describe(key, names[key.account_id]).values()] for key in found),
        empty="There are no keys yet. `modelyard keys create NAME` makes one.",
    )
    return None


@app.command()
@with_settings("data_dir", "database_url")
def revoke(
    resolved: Resolved,
    key: KeyId,
) -> None:
    """End a key; a running server refuses it within seconds."""
    with open_store(resolved.settings) as store:
        if not store.keys.revoke(key, SystemClock().now()):
            raise unknown(key)
    typer.echo(f"{key} is revoked.", err=True)


@app.command("set")
@with_settings("data_dir", "database_url")
def set_limit(resolved: Resolved, key: KeyId, rate_limit: RateLimit = None) -> None:
    """Change a key's rate limit; a running server heeds it within seconds."""
    if rate_limit is None:
        raise InvalidRequest("Nothing to change: say --rate-limit N.")
    limit = parse_count(rate_limit, "--rate-limit", lifts=AS_THE_SERVER_SAYS)
    with open_store(resolved.settings) as store:
        if not store.keys.set_rate_limit(key, limit):
            raise unknown(key)
    typer.echo(f"The rate limit of {key} is changed.", err=True)


def unknown(key: str) -> NotFound:
    """The error for an id or prefix that no live key has."""
    return NotFound(f"No key that is in use has the id {key}. `modelyard keys ls` lists them.")


def describe(key: Key, account: str) -> dict[str, str | int | None]:
    """A key as it may be shown. `rate_limit`: as `Key` has it, None is the server's setting."""
    return {
        "id": key.id,
        "account": account,
        "name": key.name,
        "prefix": key.prefix,
        "created": iso(key.created_at),
        "revoked": None if key.revoked_at is None else iso(key.revoked_at),
        "rate_limit": key.rate_limit,
    }
