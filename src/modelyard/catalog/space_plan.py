"""Which models' files go so that a download finds room in the hub's cache, or why it cannot. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

ACCOUNT, CACHE, DISK = "account disk", "cache", "disk"
"""What can be too small for a download."""


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """One model in the hub's cache. `size_bytes`: on the disk; `coming_bytes`: what downloads under way still add.

    `counted_for`: the account towards whose limit they count, with `counted_bytes`. `removable`: nobody uses them, and
    they may be removed without being asked for.
    """

    model_id: str
    size_bytes: int
    used_at: datetime
    removable: bool
    coming_bytes: int = 0
    counted_for: str | None = None
    counted_bytes: int = 0


@dataclass(frozen=True, slots=True)
class SpaceLimits:
    """What a download must keep to. `account_bytes`: what the files that count for its account may take; `cache_bytes`:
    what all models may; None: no limit. `free_bytes`: of the disk, of which `kept_free_bytes` are left."""

    account_bytes: int | None
    cache_bytes: int | None
    free_bytes: int
    kept_free_bytes: int


@dataclass(frozen=True, slots=True)
class Shortage:
    """There is no room even if all goes that may: of `limit_bytes`, `taken_bytes` are taken, `removable_bytes` of them
    by what may go."""

    cause: str
    limit_bytes: int
    taken_bytes: int
    removable_bytes: int

    @property
    def staying_bytes(self) -> int:
        """What is taken by what must stay."""
        return self.taken_bytes - self.removable_bytes


@dataclass(frozen=True, slots=True)
class Bound:
    """One limit: how much of it is taken, and how much of that each model takes."""

    cause: str
    limit_bytes: int
    taken_bytes: int
    size: Callable[[ModelFiles], int]


def plan_space(
    models: Collection[ModelFiles], needed_bytes: int, account_id: str, limits: SpaceLimits
) -> Sequence[ModelFiles] | Shortage:
    """What to remove before `needed_bytes` come for an account, in order; nothing where there is room.

    One limit after the other, each time what was unused for longest first, and no more than it takes.
    """
    removable = sorted((each for each in models if each.removable), key=lambda each: (each.used_at, each.model_id))
    chosen: list[ModelFiles] = []
    for bound in list_bounds(models, account_id, limits):
        excess_bytes = bound.taken_bytes + needed_bytes - bound.limit_bytes - sum(map(bound.size, chosen))
        for each in removable:
            if excess_bytes > 0 and bound.size(each) > 0 and each not in chosen:
                chosen.append(each)
                excess_bytes -= bound.size(each)
        if excess_bytes > 0:
            return Shortage(bound.cause, bound.limit_bytes, bound.taken_bytes, sum(map(bound.size, removable)))
    return chosen


def list_bounds(models: Collection[ModelFiles], account_id: str, limits: SpaceLimits) -> Sequence[Bound]:
    """The limits in force for a download of this account: its own first, so that its own files go before others."""
    coming_bytes = sum(each.coming_bytes for each in models)
    bounds = []
    if limits.account_bytes is not None:
        held_bytes = sum(each.counted_bytes for each in models if each.counted_for == account_id)
        bounds.append(
            Bound(
                ACCOUNT,
                limits.account_bytes,
                held_bytes,
                lambda each: each.counted_bytes if each.counted_for == account_id else 0,
            )
        )
    if limits.cache_bytes is not None:
        all_bytes = sum(each.size_bytes for each in models) + coming_bytes
        bounds.append(Bound(CACHE, limits.cache_bytes, all_bytes, size_on_disk))
    available_bytes = limits.free_bytes - limits.kept_free_bytes
    return [*bounds, Bound(DISK, available_bytes, coming_bytes, size_on_disk)]


def size_on_disk(files: ModelFiles) -> int:
    """What removing them frees."""
    return files.size_bytes
