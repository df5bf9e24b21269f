"""`modelyard usage`: what accounts have used and what it costs, from the database itself or from a server elsewhere."""

from __future__ import annotations

import csv as csv_format
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.administering import open_administration
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, Server
from modelyard.config import Resolved
from modelyard.errors import InvalidRequest

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
    server: Server = None,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="print CSV instead of a table")] = False,
) -> None:
    """Show what was used and what it costs, by account, day (UTC) and model.

    Instances that still run count up to their last heartbeat.
    """
    if json and csv:
        raise InvalidRequest(field="--csv", got="--csv and --json", accepted="one of them")
    rows: list[list[Any]]
    with open_administration(resolved.settings, server) as administration:
        if lines:
            found = administration.list_used_lines(account, since, until)
            rows = [[*each._replace(open="yes" if each.open else "no")] for each in found]  # type: ignore[arg-type]
        else:
            rows = [[*each] for each in administration.list_usage(account, since, until)]
    show(LINE_COLUMNS if lines else ROW_COLUMNS, rows, json=json, csv=csv)


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, json: bool, csv: bool) -> None:
    """Prints rows as asked. Amounts stay text in JSON too: they are exact."""
    names = [column.removeprefix("#") for column in columns]
    if json:
        output.print_json([dict(zip(names, row, strict=True)) for row in rows])
    elif csv:
        csv_format.writer(sys.stdout, lineterminator="\n").writerows([names, *rows])
    else:
        output.print_table(columns, rows, empty="Nothing was used in this time.")
