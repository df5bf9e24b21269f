"""`modelyard usage`: what accounts have used and what it costs, from the database itself."""

from __future__ import annotations

import csv as csv_format
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.database import open_local_administration
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json
from modelyard.config import Resolved
from modelyard.errors import InvalidRequest

if TYPE_CHECKING:
    from modelyard.accounts.ledger import Line
    from modelyard.accounts.usage import Row

ROW_COLUMNS = (
    "account", "day", "model", "#instances", "#seconds", "#billed_seconds", "#gb_seconds", "#requests",
    "#inference_seconds", "#cost_usd",
)  # fmt: skip
LINE_COLUMNS = (
    "account", "model", "instance", "from", "to", "open", "#gb", "#seconds", "#billed_seconds", "#gb_seconds",
    "#cost_usd",
)  # fmt: skip


@with_settings("data_dir", "database_url")
def usage(
    resolved: Resolved,
    account: Annotated[str | None, typer.Option(help="only this account's")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="from this ISO date or time on, UTC unless it says otherwise; by default this month"),
    ] = None,
    until: Annotated[str | None, typer.Option(help="up to, not including, this date or time; by default now")] = None,
    lines: Annotated[bool, typer.Option("--lines", help="a line for each instance, with its interval")] = False,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="print CSV instead of a table")] = False,
) -> None:
    """Show what was used and what it costs, by account, day (UTC) and model.

    Instances that still run count up to their last heartbeat.
    """
    if json and csv:
        raise InvalidRequest(field="--csv", got="--csv and --json", accepted="one of them")
    with open_local_administration(resolved.settings) as administration:
        found = administration.read_usage(account, since, until)
    used, names = found.usage, found.names
    if lines:
        rows = [line_cells(line, names[line.account_id]) for line in used.lines]
    else:
        grouped = used.rows("account_id", "day", "model_id")
        rows = [row_cells(names[str(owner)], str(day), str(model), row) for (owner, day, model), row in grouped.items()]
    show(LINE_COLUMNS if lines else ROW_COLUMNS, rows, json=json, csv=csv)


def row_cells(account: str, day: str, model_id: str, row: Row) -> list[Any]:
    """A row, as text where a number would lose digits."""
    from modelyard.money import US, decimal
    from modelyard.units import GIB

    return [
        account,
        day,
        model_id,
        len(row.instances),
        decimal(row.charge.took_us, 6),
        decimal(row.charge.billed_us, 6),
        f"{row.charge.byte_us / (GIB * US):.6f}",
        row.requests,
        decimal(row.inference_us, 6),
        decimal(row.cost_nano),
    ]


def line_cells(line: Line, account: str) -> list[Any]:
    """A line of the bill, as text where a number would lose digits."""
    from modelyard.accounts.usage import exact
    from modelyard.money import US, decimal
    from modelyard.units import GIB

    return [
        account,
        line.model_id,
        line.instance_id,
        exact(line.since),
        exact(line.until),
        "yes" if line.open else "no",
        f"{line.memory_bytes / GIB:.6f}",
        decimal(line.charge.took_us, 6),
        decimal(line.charge.billed_us, 6),
        f"{line.charge.byte_us / (GIB * US):.6f}",
        decimal(line.charge.amount_nano),
    ]


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, json: bool, csv: bool) -> None:
    """Prints rows as asked. Amounts stay text in JSON too: they are exact."""
    names = [column.removeprefix("#") for column in columns]
    if json:
        output.print_json([dict(zip(names, row, strict=True)) for row in rows])
    elif csv:
        csv_format.writer(sys.stdout, lineterminator="\n").writerows([names, *rows])
    else:
        output.print_table(columns, rows, empty="Nothing was used in this time.")
