"""Slots that a gateway keeps for its next requests, in place of giving each back and asking for another.

The process that is followed has lent them, and keeps each for this gateway until it is given back: once it has been
idle for `IDLE_S`, with the end of a request after `LENT_S`, or as soon as it is asked back because somebody needs one.
It is told which of them no request holds. Where that process has no other for now, a request waits here for one of them
before it asks, for `WAIT_S`. Loop thread only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic

import msgspec

from modelyard.control.targets import Target
from modelyard.gateway.following import frames

IDLE_S = 0.05
"""How long a slot waits here for a request. Whoever else needs one has it asked back."""
LENT_S = 0.25
"""How long one slot serves one request after another. Then the replica with the fewest is chosen again."""
WAIT_S = 0.01
"""How long a request waits here for a slot."""


@dataclass(eq=False, slots=True)
class Share:
    """The slots of one cluster that this gateway may keep. `lent`: how many there are; `owed`: how many of them are to
    be given back at the next opportunity; `idle`: those that no request holds, by replica, the one that was used last
    at the end; `waiting`: requests, and since when; `is_full`: there was no slot besides when the last one was lent.
    `answered`: requests since that was told; `told`: what was told last of those that are idle, and that wait."""

    cluster_id: str
    lent: int = 0
    owed: int = 0
    idle: dict[str, list[FollowedTarget]] = field(default_factory=dict)
    waiting: deque[tuple[float, asyncio.Future[FollowedTarget | None]]] = field(default_factory=deque)
    is_full: bool = False
    answered: int = 0
    told: tuple[dict[str, int], int] = field(default_factory=lambda: ({}, 0))

    def put_idle(self, target: FollowedTarget) -> None:
        """No request holds it."""
        self.idle.setdefault(target.replica_id, []).append(target)

    def take_idle(self) -> FollowedTarget:
        """One of those, on the replica with the fewest requests of this gateway."""
        idle = self.idle
        replica_id = min(idle, key=lambda each: idle[each][-1].process.in_flight) if len(idle) > 1 else next(iter(idle))
        target = idle[replica_id].pop()
        if not idle[replica_id]:
            del idle[replica_id]
        return target

    def list_idle(self) -> list[FollowedTarget]:
        """All of those, the one that was used last at the end."""
        return sorted((each for targets in self.idle.values() for each in targets), key=lambda each: each.idle_since)

    def remove_idle(self, targets: Sequence[FollowedTarget]) -> None:
        """These are idle no more."""
        left = [each for each in self.list_idle() if each not in targets]
        self.idle.clear()
        for target in left:
            self.put_idle(target)


@dataclass(eq=False, slots=True)
class FollowedTarget(Target):
    """A replica as one request holds it. `held`: the slot, as whoever is followed next is told of it; `share`: what it
    belongs to if it may be kept, `lent_until` then; `idle_since`: the end of the request that held it last."""

    held: frames.HoldsSlot = field(kw_only=True)
    cluster_id: str = ""
    share: Share | None = None
    lent_until: float = 0.0
    idle_since: float = 0.0


class KeptSlots:
    """All of one gateway's."""

    def __init__(self, tell: Callable[[msgspec.Struct], None], tell_soon: Callable[[], None]) -> None:
        """`tell`: tells the process that is followed; `tell_soon`: has `tell_changes` called, with whatever else there
        is to tell by then."""
        self._tell = tell
        self._tell_soon = tell_soon
        self._shares: dict[str, Share] = {}
        self._by_model: dict[tuple[str, str], Share] = {}
        """By account and model, those with slots."""
        self._changed: dict[str, Share] = {}
        """Of which something is to be told."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._wait_timer: asyncio.TimerHandle | None = None

    def lend(self, target: FollowedTarget, *, is_full: bool) -> None:
        """Takes note that the slot, which a request holds, may be kept."""
        share = self._ensure_share(target.cluster_id)
        share.lent += 1
        share.is_full = is_full
        self._by_model[target.held.account_id, target.held.model_id] = share
        target.share, target.lent_until = share, monotonic() + LENT_S

    def take(self, account_id: str, model_id: str) -> FollowedTarget | asyncio.Future[FollowedTarget | None] | None:
        """A slot that is kept, for a request; or a place in the queue for one, which leads to None where one is to be
        asked for after all; or None at once."""
        share = self._by_model.get((account_id, model_id))
        if share is None:
            return None
        if share.idle:
            target = share.take_idle()
            if not target.link.closed:
                self._note(share)
                return target
            self._give_back([target], share)
        elif share.is_full and share.lent > share.owed:
            loop = asyncio.get_running_loop()
            waiter: asyncio.Future[FollowedTarget | None] = loop.create_future()
            share.waiting.append((monotonic(), waiter))
            self._note(share)
            if self._wait_timer is None:
                self._wait_timer = loop.call_later(WAIT_S, self._end_waits)
            return waiter
        return None

    def keep(self, target: FollowedTarget) -> bool | None:
        """Keeps the slot, now that its request has been answered: whether one that waits has it at once; None: it is
        to be given back."""
        share, now = target.share, monotonic()
        if share is None or share.owed or now >= target.lent_until or target.link.closed or target.was_ended:
            return None
        share.answered += 1
        self._note(share)
        while share.waiting:
            waiter = share.waiting.popleft()[1]
            if not waiter.done():
                waiter.set_result(target)
                return True
        target.idle_since = now
        share.put_idle(target)
        if self._idle_timer is None:
            self._idle_timer = asyncio.get_running_loop().call_later(IDLE_S, self._end_idle)
        return False

    def put_back(self, target: FollowedTarget) -> None:
        """The slot was taken for a request that is gone."""
        if (share := target.share) is not None:
            self._give_back([target], share)

    def note_released(self, target: FollowedTarget) -> None:
        """The slot is given back in place of being kept."""
        if target.share is not None:
            self.tell_changes()
            self._forget(target, target.share)

    def recall(self, cluster_id: str, count: int, replica_id: str) -> None:
        """Gives back so many slots of the cluster: those that are idle now, first those of that replica, the others
        when their requests end."""
        share = self._ensure_share(cluster_id)
        share.owed += count
        idle = sorted(share.list_idle(), key=lambda each: each.replica_id != replica_id)
        self._give_back_idle(idle[: share.owed], share)

    def give_back_idle(self) -> None:
        """Gives back all that no request holds."""
        for share in list(self._shares.values()):
            self._give_back_idle(share.list_idle(), share)

    def forget(self) -> None:
        """Nothing is lent any more: who lent it is followed no more. Those that wait ask whoever is followed next."""
        for share in self._shares.values():
            for target in share.list_idle():
                target.share = None
            share.idle.clear()
            share.owed = share.lent  # those that requests hold
            ask_after_all(share, monotonic())
        self._shares.clear()
        self._by_model.clear()
        self._changed.clear()

    def tell_changes(self) -> None:
        """Tells how it is with those of which something has changed."""
        changed, self._changed = self._changed, {}
        for share in changed.values():
            idle = {replica_id: len(targets) for replica_id, targets in share.idle.items()}
            now = idle, len(share.waiting)
            if share.answered or now != share.told:
                kept = frames.Kept(share.cluster_id, share.answered, sum(idle.values()), len(share.waiting), idle)
                self._tell(kept)
                share.answered, share.told = 0, now

    def _note(self, share: Share) -> None:
        """Has it told soon."""
        if share.cluster_id not in self._changed:
            self._changed[share.cluster_id] = share
            self._tell_soon()

    def _end_idle(self) -> None:
        """Gives back those that have been idle for too long."""
        self._idle_timer = None
        before = monotonic() - IDLE_S
        for share in list(self._shares.values()):
            self._give_back_idle([each for each in share.list_idle() if each.idle_since <= before], share)
        if any(share.idle for share in self._shares.values()):
            self._idle_timer = asyncio.get_running_loop().call_later(IDLE_S, self._end_idle)

    def _end_waits(self) -> None:
        """Has those ask that have waited for too long."""
        self._wait_timer = None
        before = monotonic() - WAIT_S
        for share in self._shares.values():
            if ask_after_all(share, before):
                self._changed[share.cluster_id] = share
        self.tell_changes()  # with what they ask, so that no request is told twice
        if any(share.waiting for share in self._shares.values()):
            self._wait_timer = asyncio.get_running_loop().call_later(WAIT_S, self._end_waits)

    def _give_back_idle(self, targets: Sequence[FollowedTarget], share: Share) -> None:
        """Gives back these of those that are idle."""
        if targets:
            share.remove_idle(targets)
            self._give_back(targets, share)

    def _give_back(self, targets: Sequence[FollowedTarget], share: Share) -> None:
        """Gives back slots that are not idle any more."""
        self._changed[share.cluster_id] = share
        self.tell_changes()
        for target in targets:
            self._forget(target, share)
            self._tell(frames.Released(target.held.id))

    def _forget(self, target: FollowedTarget, share: Share) -> None:
        target.share = None
        share.lent -= 1
        share.owed = max(0, share.owed - 1)
        if not (share.lent or share.owed or share.waiting) and self._shares.get(share.cluster_id) is share:
            del self._shares[share.cluster_id]
            self._by_model.pop((target.held.account_id, target.held.model_id), None)

    def _ensure_share(self, cluster_id: str) -> Share:
        share = self._shares.get(cluster_id)
        if share is None:
            share = self._shares[cluster_id] = Share(cluster_id)
        return share


def ask_after_all(share: Share, before: float) -> bool:
    """Those that have waited since then, or for longer, wait here no more; whether there are any."""
    found = False
    while share.waiting and share.waiting[0][0] <= before:
        waiter = share.waiting.popleft()[1]
        if not waiter.done():
            waiter.set_result(None)
        found = True
    return found
