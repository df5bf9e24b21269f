"""What models take up on this machine's disk: the hub's files, and the variants and conversions made here.

Lists them, chooses which may go, and removes them; decides nothing about when.

Blocking. The model folders of the operator are none of its business.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelyard.catalog.folders import Folders
from modelyard.catalog.hub_cache import HubCache


@dataclass(frozen=True, slots=True)
class CachedModel:
    """`used_at_s`: when its files were last read or written, in seconds since 1970; reads count to the day. `kind`:
    hub, variant, or converted."""

    model_id: str
    kind: str
    path: Path
    size_bytes: int
    used_at_s: float


def list_cached(hub_cache: Path, variants: Path, converted: Path) -> list[CachedModel]:
    """Everything that could be removed, by model id; downloads that are not complete are among it. `variants`,
    `converted`: the folders of what was made here."""
    cache = HubCache(hub_cache)
    hub = (look_at(model_id, "hub", cache.folder(model_id)) for model_id in cache.model_ids())
    made = (
        look_at(model_id, kind, folder / model_id)
        for kind, folder in (("variant", variants), ("converted", converted))
        if folder.is_dir()
        for model_id in Folders([folder]).ids()
    )
    return sorted([*hub, *made], key=lambda model: (model.model_id, model.kind))


def look_at(model_id: str, kind: str, path: Path) -> CachedModel:
    """One model's folder as it is now."""
    stats = [each.lstat() for each in files_of(path)]
    used_at_s = max((max(each.st_atime, each.st_mtime) for each in stats), default=0.0)
    return CachedModel(model_id, kind, path, sum(each.st_size for each in stats), used_at_s)


def files_of(path: Path) -> Iterator[Path]:
    """The files themselves: the hub's snapshots are links to them."""
    return (each for each in path.rglob("*") if each.is_file() and not each.is_symlink())


def plan_prune(
    models: Collection[CachedModel],
    in_use: Collection[str],
    now_s: float,
    *,
    older_than_s: float | None = None,
    to_bytes: int | None = None,
) -> Sequence[CachedModel]:
    """Which models to remove, the longest unused first; never what is in use. Pure.

    Those unused for longer than `older_than_s`, and of the others as many as it takes until all together have no more
    than `to_bytes`.
    """
    free = sorted((each for each in models if each.model_id not in in_use), key=lambda model: model.used_at_s)
    left_bytes, chosen = sum(each.size_bytes for each in models), []
    for model in free:
        is_old = older_than_s is not None and now_s - model.used_at_s > older_than_s
        if is_old or (to_bytes is not None and left_bytes > to_bytes):
            chosen.append(model)
            left_bytes -= model.size_bytes
    return chosen


def remove(model: CachedModel) -> None:
    """Removes a model's files. Idempotent. A server fetches them anew when the model is next asked for."""
    if model.kind == "hub":
        HubCache(model.path.parent).remove(model.model_id)
    else:
        shutil.rmtree(model.path, ignore_errors=True)
