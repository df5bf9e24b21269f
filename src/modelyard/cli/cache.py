"""`modelyard cache`: what models take up on a machine's disk, and making room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import amounts, output
from modelyard.cli.administering import open_cache
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json, Server
from modelyard.clock import iso
from modelyard.config import Resolved
from modelyard.units import GIB

if TYPE_CHECKING:
    from modelyard.accounts.cache_administration import ListedModel

COLUMNS = ("model", "kind", "#GB", "used", "in use", "downloaded for")

app = typer.Typer(
    no_args_is_help=True,
    help="See what models take up on this machine's disk (the hub's files, and what was made of models here), and make "
    "room. What an instance uses is never removed.",
)


@app.command("ls")
@with_settings("data_dir", "database_url")
def list_models(resolved: Resolved, server: Server = None, json: Json = False) -> None:
    """List the models, with their sizes, when each was last used (to the day), whether an instance uses it now, and for
    which account a server has downloaded it; a dash: none has, and none removes it by itself."""
    with open_cache(resolved.settings, server) as cache:
        shown = [describe(model) for model in cache.list()]
    if json:
        return output.print_json(shown)
    rows = (
        (each["model"], each["kind"], each["gb"], each["used"], each["in_use"] or None, each["downloaded_for"])
        for each in shown
    )
    output.print_table(COLUMNS, rows, empty="No model takes up room here.")
    return None


@app.command()
@with_settings("data_dir", "database_url")
def rm(
    resolved: Resolved,
    models: Annotated[list[str], typer.Argument(help="org/name, one or more", show_default=False)],
    server: Server = None,
) -> None:
    """Remove models' files. One that is asked for later is fetched, or must be made, anew."""
    with open_cache(resolved.settings, server) as cache:
        tell(cache.remove(models))


@app.command()
@with_settings("data_dir", "database_url")
def prune(
    resolved: Resolved,
    older_than: Annotated[
        str | None, typer.Option(metavar="DAYS", help="remove what nobody has used for more than this many days")
    ] = None,
    to_size: Annotated[
        str | None, typer.Option(metavar="GB", help="remove what was unused for longest until the rest takes no more")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be removed")] = False,
    server: Server = None,
) -> None:
    """Remove models that nobody uses, those unused for longest first."""
    days = None if older_than is None else amounts.parse_count(older_than, "--older-than")
    to_bytes = None if to_size is None else amounts.parse_gigabytes(to_size, "--to-size")
    with open_cache(resolved.settings, server) as cache:
        tell(cache.prune(older_than_days=days, to_bytes=to_bytes, dry_run=dry_run), dry_run=dry_run)


def tell(models: Sequence[ListedModel], *, dry_run: bool = False) -> None:
    """Says which were removed, and how much room that makes."""
    for model in models:
        typer.echo(model.model_id)
    freed = sum(model.size_bytes for model in models) / GIB
    typer.echo(f"{'Would make' if dry_run else 'Made'} {freed:.2f} GB of room.", err=True)


def describe(model: ListedModel) -> dict[str, object]:
    """A model as it may be shown."""
    return {
        "model": model.model_id,
        "kind": model.kind,
        "gb": round(model.size_bytes / GIB, 3),
        "used": iso(model.used_at)[:10],
        "in_use": model.in_use,
        "downloaded_for": model.downloaded_for,
    }
