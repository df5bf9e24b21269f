"""`modelyard accounts`: who there is and what each may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import amounts, output
from modelyard.cli.administering import open_administration
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, Server
from modelyard.clock import iso
from modelyard.config import Resolved
from modelyard.errors import InvalidRequest
from modelyard.money import usd
from modelyard.records.accounts import AccountLimits
from modelyard.units import GIB

if TYPE_CHECKING:
    from modelyard.accounts.administration import ListedAccount

COLUMNS = (
    "name", "id", "#keys", "#instances", "#memory gb", "#at once", "#models", "#disk gb", "#weight", "#credit usd",
    "#monthly usd",
)  # fmt: skip
TAKES_NEGATIVE = {"ignore_unknown_options": True}
"""An amount such as -5 is no option."""

app = typer.Typer(
    no_args_is_help=True,
    help="Make and list accounts, limit what they may have. Works with and without a running server, which heeds a "
    "change within seconds.",
)

Name = Annotated[str, typer.Argument(help="the account's name, or its id", show_default=False)]


@app.command("ls")
@with_settings("data_dir", "database_url")
def list_accounts(
    resolved: Resolved,
    server: Server = None,
    json: Json = False,
) -> None:
    """List the accounts with their limits; a dash is no limit, and no credit: billed afterwards."""
    with open_administration(resolved.settings, server) as administration:
        shown = [describe(listed) for listed in administration.list_accounts()]
    if json:
        return output.print_json(shown)
    rows = ([value for name, value in each.items() if name != "created"] for each in shown)
    output.print_table(COLUMNS, rows, empty="There are no accounts yet. `modelyard accounts create NAME` makes one.")
    return None


@app.command()
@with_settings("data_dir", "database_url")
def create(
    resolved: Resolved,
    name: Annotated[str, typer.Argument(help="what to call it", show_default=False)],
    server: Server = None,
) -> None:
    """Make an account, without limits, and print its id. `modelyard keys create --account NAME` gives it a key."""
    with open_administration(resolved.settings, server) as administration:
        made = administration.create_account(name)
    typer.echo(made.id)


@app.command("set")
@with_settings("data_dir", "database_url")
def set_limits(
    resolved: Resolved,
    name: Name,
    max_instances: Annotated[
        str | None, typer.Option(metavar="N", help="instances that may run at once, of all its models; none: no limit")
    ] = None,
    max_memory_gb: Annotated[
        str | None, typer.Option(metavar="X", help="memory they may hold together, in GB; none: no limit")
    ] = None,
    max_concurrent: Annotated[
        str | None, typer.Option(metavar="N", help="inferences it may have under way at once; none: no limit")
    ] = None,
    max_models: Annotated[
        str | None, typer.Option(metavar="N", help="clusters it may have, running or not; none: no limit")
    ] = None,
    max_disk_gb: Annotated[
        str | None, typer.Option(metavar="X", help="files downloaded or made for it may take, in GB; none: no limit")
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(metavar="N", help="its part of the machines beside other accounts, 1 to 1000; none: 1"),
    ] = None,
    monthly_limit: Annotated[
        str | None, typer.Option(metavar="USD", help="what it may spend in a calendar month (UTC); none: no limit")
    ] = None,
    server: Server = None,
) -> None:
    """Change an account's limits; those that are not named stay. What runs already is not ended."""
    changes: AccountLimits = {}
    if max_instances is not None:
        changes["max_instances"] = amounts.parse_count(max_instances, "--max-instances")
    if max_memory_gb is not None:
        changes["max_memory_bytes"] = amounts.parse_gigabytes(max_memory_gb, "--max-memory-gb")
    if max_concurrent is not None:
        changes["max_concurrent"] = amounts.parse_count(max_concurrent, "--max-concurrent")
    if max_models is not None:
        changes["max_models"] = amounts.parse_count(max_models, "--max-models")
    if max_disk_gb is not None:
        changes["max_disk_bytes"] = amounts.parse_gigabytes(max_disk_gb, "--max-disk-gb")
    if weight is not None:
        changes["weight"] = amounts.parse_count(weight, "--weight")
    if monthly_limit is not None:
        changes["monthly_limit_nano"] = amounts.parse_money(monthly_limit, "--monthly-limit")
    if not changes:
        raise InvalidRequest("Nothing to change: name a limit, such as --max-instances 2.")
    with open_administration(resolved.settings, server) as administration:
        changed = administration.set_limits(name, changes)
    typer.echo(f"The limits of {changed.name} are changed.", err=True)


@app.command(context_settings=TAKES_NEGATIVE)
@with_settings("data_dir", "database_url")
def credit(
    resolved: Resolved,
    name: Name,
    amount: Annotated[
        str, typer.Argument(metavar="USD", help="what to add, such as 12.50; below 0: what to take back")
    ],
    server: Server = None,
) -> None:
    """Add to what an account has paid in advance, and print the new total in US dollars."""
    amount_nano = amounts.parse_usd(amount, "USD")
    with open_administration(resolved.settings, server) as administration:
        changed = administration.add_credit(name, amount_nano)
    typer.echo(usd(changed.credit_nano or 0))


def describe(listed: ListedAccount) -> dict[str, Any]:
    """An account as it may be shown. Amounts of money are text, so that they stay exact; None: no limit."""
    account = listed.account
    return {
        "name": account.name,
        "id": account.id,
        "created": iso(account.created_at),
        "keys": listed.live_keys,
        "max_instances": account.max_instances,
        "max_memory_gb": in_gigabytes(account.max_memory_bytes),
        "max_concurrent": account.max_concurrent,
        "max_models": account.max_models,
        "max_disk_gb": in_gigabytes(account.max_disk_bytes),
        "weight": account.weight,
        "credit_usd": None if account.credit_nano is None else usd(account.credit_nano),
        "monthly_limit_usd": None if account.monthly_limit_nano is None else usd(account.monthly_limit_nano),
    }


def in_gigabytes(count: int | None) -> float | None:
    """Bytes as GB; None: no limit."""
    return None if count is None else round(count / GIB, 9)
