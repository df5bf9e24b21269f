"""`modelyard nodes`: the machines that a server's replicas run on."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from modelyard.cli import output
from modelyard.cli.client import open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import DEFAULT_URL, SERVER_VARIABLE, Json
from modelyard.config import Resolved
from modelyard.units import GIB

COLUMNS = ("node", "#memory gb", "#reserved gb", "#held gb")


@with_settings("data_dir")
def nodes(
    resolved: Resolved,
    server: Annotated[
        str | None,
        typer.Option("--server", envvar=SERVER_VARIABLE, help="the server to ask", show_default=DEFAULT_URL),
    ] = None,
    json: Json = False,
) -> None:
    """List the machines that replicas run on, with what they may hold, what is reserved and what is held."""
    with open_client(server, resolved.settings) as client:
        found: list[dict[str, Any]] = client.administer("GET", "nodes")
    if json:
        return output.print_json(found)
    rows = (
        (each["name"], *(f"{each[size] / GIB:.2f}" for size in ("memoryBytes", "reservedBytes", "heldBytes")))
        for each in found
    )
    output.print_table(COLUMNS, rows, empty="The server has no machine to run replicas on.")
    return None
