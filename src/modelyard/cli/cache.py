"""`modelyard cache`: what models take up on this machine's disk, and making room.

Asks the database which are in use, so that it works with and without a running server.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from modelyard.cli import amounts, output
from modelyard.cli.flags import with_settings
from modelyard.cli.options import Json
from modelyard.clock import iso
from modelyard.config import Resolved, Settings
from modelyard.errors import InvalidRequest
from modelyard.private_files import ensure_private_folder
from modelyard.records.conversions import CONVERTED_FOLDER
from modelyard.records.files import repository_of
from modelyard.records.variants import VARIANTS_FOLDER
from modelyard.units import GIB

if TYPE_CHECKING:
    from modelyard.catalog.cached_models import CachedModel

DAY_S = 86_400.0
DOWNLOADING_S = 60.0
"""Files that were written within this time may belong to a download that is under way."""

app = typer.Typer(
    no_args_is_help=True,
    help="See what models take up on this machine's disk (the hub's files, and what was made of models here), and make "
    "room. What an instance uses is never removed.",
)


@app.command("ls")
@with_settings("data_dir", "database_url")
def list_models(resolved: Resolved, json: Json = False) -> None:
    """List the models, with their sizes, when each was last used (to the day), whether an instance uses it now, and for
    which account a server has downloaded it; a dash: none has, and none removes it by itself."""
    models, in_use = look(resolved.settings)
    names = find_downloaders(resolved.settings)
    shown = [describe(model, in_use, names.get(model.path)) for model in models]
    if json:
        return output.print_json(shown)
    rows = (
        (each["model"], each["kind"], each["gb"], each["used"], each["in_use"] or None, each["downloaded_for"])
        for each in shown
    )
    columns = ("model", "kind", "#GB", "used", "in use", "downloaded for")
    output.print_table(columns, rows, empty="No model takes up room here.")
    return None


@app.command()
@with_settings("data_dir", "database_url")
def rm(
    resolved: Resolved, models: Annotated[list[str], typer.Argument(help="org/name, one or more", show_default=False)]
) -> None:
    """Remove models' files. One that is asked for later is fetched, or must be made, anew."""
    there, in_use = look(resolved.settings)
    for model_id in models:
        if model_id not in {each.model_id for each in there}:
            raise InvalidRequest(field="model", got=model_id, accepted="one that `modelyard cache ls` lists")
        if model_id in in_use:
            raise InvalidRequest(
                f"{model_id} is in use; `modelyard stop {model_id}` ends its instances.", field="model"
            )
    remove_all([each for each in there if each.model_id in models])


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
) -> None:
    """Remove models that nobody uses, those unused for longest first."""
    from modelyard.catalog.cached_models import plan_prune

    days = None if older_than is None else amounts.parse_count(older_than, "--older-than")
    to_bytes = None if to_size is None else amounts.parse_gigabytes(to_size, "--to-size")
    if days is None and to_bytes is None:
        raise InvalidRequest("Nothing to remove: say --older-than DAYS, --to-size GB, or both.")
    models, in_use = look(resolved.settings)
    older_than_s = None if days is None else days * DAY_S
    chosen = plan_prune(models, in_use, time.time(), older_than_s=older_than_s, to_bytes=to_bytes)
    remove_all(list(chosen), dry_run=dry_run)


def look(settings: Settings) -> tuple[list[CachedModel], set[str]]:
    """The models, and the ids of those that must stay: an instance has them, or they may be on their way."""
    from modelyard.catalog.cached_models import list_cached
    from modelyard.catalog.hub_settings import read_hub_settings
    from modelyard.store.store import Store

    ensure_private_folder(settings.data_dir)
    with Store.open(settings.store_url) as store:
        in_use = {repository_of(each.model_id) for each in store.instances.list_open()}
    data_dir = settings.data_dir
    models = list_cached(read_hub_settings().cache_dir, data_dir / VARIANTS_FOLDER, data_dir / CONVERTED_FOLDER)
    arriving = {each.model_id for each in models if any(is_growing(each))}
    return models, in_use | arriving


def find_downloaders(settings: Settings) -> dict[Path, str]:
    """The folders of the hub's models that a server has downloaded, each with the name of the account it was for."""
    from modelyard.catalog.cache_space import list_kept
    from modelyard.catalog.hub_cache import HubCache
    from modelyard.catalog.hub_settings import read_hub_settings
    from modelyard.store.store import Store

    cache = HubCache(read_hub_settings().cache_dir)
    with Store.open(settings.store_url) as store:
        names = {each.id: each.name for each in store.accounts.list()}
        records = list_kept(store.downloads, cache)
    return {cache.folder(each.model_id): names[each.account_id] for each in records}


def is_growing(model: CachedModel) -> list[bool]:
    """For each file of a model that is not complete, whether it may be on its way at this moment."""
    partial = model.path.glob("blobs/*.incomplete")
    return [time.time() - each.stat().st_mtime < DOWNLOADING_S for each in partial]


def remove_all(models: list[CachedModel], *, dry_run: bool = False) -> None:
    """Removes them, and says how much room that makes."""
    from modelyard.catalog.cached_models import remove

    for model in models:
        if not dry_run:
            remove(model)
        typer.echo(model.model_id)
    freed = sum(model.size_bytes for model in models) / GIB
    typer.echo(f"{'Would make' if dry_run else 'Made'} {freed:.2f} GB of room.", err=True)


def describe(model: CachedModel, in_use: set[str], downloaded_for: str | None) -> dict[str, object]:
    """A model as it may be shown."""
    return {
        "model": model.model_id,
        "kind": model.kind,
        "gb": round(model.size_bytes / GIB, 3),
        "used": iso(datetime.fromtimestamp(model.used_at_s, UTC))[:10],
        "in_use": model.model_id in in_use,
        "downloaded_for": downloaded_for,
    }
