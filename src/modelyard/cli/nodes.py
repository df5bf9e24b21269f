"""`modelyard nodes`: the machines that a server's replicas run on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import quote

import typer

from modelyard.cli import output
from modelyard.cli.client import open_client
from modelyard.cli.flags import with_settings
from modelyard.cli.options import LOCAL_URL, SERVER_VARIABLE, Json
from modelyard.config import Resolved
from modelyard.errors import InvalidRequest
from modelyard.units import GIB

COLUMNS = ("node", "#replicas", "#memory gb", "#reserved gb", "#held gb", "state")
DRAIN, USE = "drain", "use"


@with_settings("data_dir")
def nodes(
    resolved: Resolved,
    action: Annotated[
        str | None,
        typer.Argument(
            help="drain: have a machine take no new replicas, and those that it runs move to others, each once another "
            "is ready in its place; use: have it take replicas again. Else the machines are listed.",
            metavar=f"{DRAIN}|{USE}",
            show_default=False,
        ),
    ] = None,
    name: Annotated[str | None, typer.Argument(help="the machine to drain or use", show_default=False)] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="only this accelerator of the machine, such as cuda:0", show_default=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--server", envvar=SERVER_VARIABLE, help="the server to ask", show_default=LOCAL_URL),
    ] = None,
    json: Json = False,
) -> None:
    """List the machines that replicas run on, and their accelerators, with what they may hold, what is reserved and
    what is held; or have one emptied."""
    if action is not None and (action not in (DRAIN, USE) or name is None):
        got = action if name is None else f"{action} {name}"
        raise InvalidRequest(field="nodes", got=got, accepted=f"{DRAIN} NAME, {USE} NAME, or nothing")
    with open_client(server, resolved.settings) as client:
        if action is not None and name is not None:
            body = {"accepting": action == USE, "device": device}
            typer.echo(client.administer("PATCH", f"nodes/{quote(name, safe='')}", body))
            return None
        found: list[dict[str, Any]] = client.administer("GET", "nodes")
    if json:
        return output.print_json(found)
    rows = (row for node in found for row in rows_of(node))
    empty = "The server has no machine to run replicas on; its log says which it has found, and why it uses none."
    output.print_table(COLUMNS, rows, empty=empty)
    return None


def rows_of(node: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """One machine's line, and one for each of its accelerators."""
    yield cells(node["name"], node, "can be switched off")
    for device in node["devices"]:
        yield cells(f"{node['name']} {device['name']}", device, "can be taken out")


def cells(name: str, memory: dict[str, Any], when_empty: str) -> tuple[str, ...]:
    """A line. `when_empty`: what can be done with what takes no replicas and has none."""
    sizes = (f"{memory[size] / GIB:.2f}" for size in ("memoryBytes", "reservedBytes", "heldBytes"))
    state = "" if memory["accepting"] else when_empty if not memory["replicas"] else "is being emptied"
    return (name, str(memory["replicas"]), *sizes, state)
