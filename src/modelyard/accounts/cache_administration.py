"""What models take up on the server's disk, and making room: the rules for commands, HTTP and a console.

What an instance uses, or a download is making, is never removed. Blocks on the database and the disk.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from modelyard.accounts.audit import AuditTrail
from modelyard.catalog.cache_space import list_kept
from modelyard.catalog.cached_models import CachedModel, list_cached, plan_prune, remove
from modelyard.catalog.hub_cache import HubCache
from modelyard.clock import Clock
from modelyard.errors import InvalidRequest
from modelyard.records.audit import SERVER, Actor
from modelyard.records.conversions import CONVERTED_FOLDER
from modelyard.records.files import repository_of
from modelyard.records.variants import VARIANTS_FOLDER
from modelyard.store.store import Store

DAY_S = 86_400.0
DOWNLOADING_S = 60.0
"""Files that were written within this time may belong to a download that is under way."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model's files in a list. `kind`: as `CachedModel` has it. `in_use`: an instance uses them, or they may be on
    their way. `downloaded_for`: the name of the account that a server has downloaded them for."""

    model_id: str
    kind: str
    size_bytes: int
    used_at: datetime
    in_use: bool
    downloaded_for: str | None


class CacheAdministration:
    """The models on one server's disk."""

    def __init__(self, store: Store, clock: Clock, hub_cache: Path, data_dir: Path, actor: Actor = SERVER) -> None:
        """`hub_cache`: the folder of the hub's files. `actor`: who removes, as the audit log tells it."""
        self._store = store
        self._hub_cache = hub_cache
        self._data_dir = data_dir
        self._trail = AuditTrail(store.audit, clock, actor)

    def list(self) -> Sequence[ListedModel]:
        """All of them, by id."""
        models, in_use = self._look()
        names = {each.id: each.name for each in self._store.accounts.list()}
        cache = HubCache(self._hub_cache)
        kept = list_kept(self._store.downloads, cache)
        owners = {cache.folder(each.model_id): names[each.account_id] for each in kept}
        return [listed(each, in_use, owners.get(each.path)) for each in models]

    def remove(self, model_ids: Sequence[str]) -> Sequence[ListedModel]:
        """Removes models' files, or none where one of them must stay. Raises InvalidRequest."""
        models, in_use = self._look()
        known = {each.model_id for each in models}
        for model_id in model_ids:
            if model_id not in known:
                raise InvalidRequest(field="model", got=model_id, accepted="one that `modelyard cache ls` lists")
            if model_id in in_use:
                raise InvalidRequest(
                    f"{model_id} is in use; `modelyard stop {model_id}` ends its instances.", field="model"
                )
        return self._remove_all([each for each in models if each.model_id in model_ids], in_use)

    def prune(
        self, *, older_than_days: int | None, to_bytes: int | None, dry_run: bool = False
    ) -> Sequence[ListedModel]:
        """Removes what nobody has used for more than so many days, and what was unused for longest until the rest takes
        no more than `to_bytes`; which that is. `dry_run`: removes nothing. Raises InvalidRequest where neither is
        said."""
        if older_than_days is None and to_bytes is None:
            raise InvalidRequest(
                "Nothing to remove: say --older-than DAYS, --to-size GB, or both (olderThanDays, toBytes)."
            )
        models, in_use = self._look()
        older_than_s = None if older_than_days is None else older_than_days * DAY_S
        chosen = list(plan_prune(models, in_use, time.time(), older_than_s=older_than_s, to_bytes=to_bytes))
        return [listed(each, in_use, None) for each in chosen] if dry_run else self._remove_all(chosen, in_use)

    def _remove_all(self, models: Sequence[CachedModel], in_use: Collection[str]) -> Sequence[ListedModel]:
        for model in models:
            with self._trail.change():
                before = {"kind": model.kind, "size_bytes": model.size_bytes}
                self._trail.note("cache.remove", None, model.model_id, before)
                remove(model)
        return [listed(each, in_use, None) for each in models]

    def _look(self) -> tuple[Sequence[CachedModel], Collection[str]]:
        """The models, and the ids of those that must stay: an instance has them, or they may be on their way."""
        in_use = {repository_of(each.model_id) for each in self._store.instances.list_open()}
        variants, converted = self._data_dir / VARIANTS_FOLDER, self._data_dir / CONVERTED_FOLDER
        models = list_cached(self._hub_cache, variants, converted)
        return models, in_use | {each.model_id for each in models if is_growing(each)}


def is_growing(model: CachedModel) -> bool:
    """Whether a file of a model that is not complete may be on its way at this moment."""
    partial = model.path.glob("blobs/*.incomplete")
    return any(time.time() - each.stat().st_mtime < DOWNLOADING_S for each in partial)


def listed(model: CachedModel, in_use: Collection[str], downloaded_for: str | None) -> ListedModel:
    """A model of a list."""
    used_at = datetime.fromtimestamp(model.used_at_s, UTC)
    is_used = model.model_id in in_use
    return ListedModel(model.model_id, model.kind, model.size_bytes, used_at, is_used, downloaded_for)
