"""Where a replica fits, and what must go to make room: on a node and its devices, and within what its account may hold.

Pure: counts, touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from modelyard.control.limits import Bound
from modelyard.engine.base import Need, Place

SOONEST_S = 0.001
"""No use is thought to be nearer than that."""
NOWHERE = Place("")
"""Of what has no place of its own."""


@dataclass(frozen=True, slots=True)
class MemoryHolder:
    """A replica that holds memory. `idle_s` None: busy, or its cluster's `min` keeps it; it must stay. `loading`: its
    model is being loaded.
    `leaving`: its end was asked for and is a matter of moments. `name`: its model, as the one who asks may read it.
    `own`: it belongs to the account that asks. `hidden`: that account must not learn what it does or holds.
    `next_use_s`: when it is likely to be asked next; None: as late as it has been idle. `reload_s`: what it takes to
    have it back then."""

    replica_id: str
    name: str
    memory_bytes: int
    idle_s: float | None
    leaving: bool = False
    own: bool = False
    device_bytes: int = 0
    place: Place | None = None
    hidden: bool = False
    next_use_s: float | None = None
    reload_s: float = 1.0
    loading: bool = False

    @property
    def loss(self) -> float:
        """What its leaving costs: seconds of loading it again, for each second until that is likely to happen."""
        next_use_s = self.next_use_s if self.next_use_s is not None else self.idle_s
        return self.reload_s / max(next_use_s or 0.0, SOONEST_S)

    @property
    def need(self) -> Need:
        """What it takes up."""
        return Need(self.memory_bytes, self.device_bytes)


@dataclass(frozen=True, slots=True)
class Fits:
    """There is room now."""


@dataclass(frozen=True, slots=True)
class Evict:
    """There is room once those that are leaving, and these idle ones (often none), are gone."""

    holders: tuple[MemoryHolder, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """There is no room until something ends. `reason` is for the event log. `soon`: there is room, once another model
    has been loaded there."""

    reason: str
    soon: bool = False


@dataclass(frozen=True, slots=True)
class Never:
    """It is larger than all there is for it. `reason` is for the client; `cause` says of which limit."""

    reason: str
    cause: str


Verdict = Fits | Evict | Wait | Never
"""Of one place."""


@dataclass(frozen=True, slots=True)
class Placed:
    """There is room now at `place`, where it takes up `need`."""

    place: Place
    need: Need


Placement = Placed | Evict | Wait | Never
"""Of all places."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that comes into question. `bounds`: of its node, and of each device that it names; `holders`: who holds
    memory of its node, and who else is of the account that asks."""

    place: Place
    bounds: tuple[Bound, ...]
    holders: Sequence[MemoryHolder]


def choose_place(
    need: Need, account: Sequence[Bound], candidates: Sequence[Candidate], *, may_evict: bool
) -> tuple[Candidate, Verdict] | None:
    """The best of the candidates, and what is to be done to have room there; None when there are none.

    Room now comes before room where another model is being loaded, that before room that must be made, and that before
    waiting; of places where somebody must go, first the
    one where nobody is asked to who was not already, then the one where the evicted are missed the least. Of equal ones
    the first counts. `account`: the bounds that hold wherever it runs.
    """
    verdicts = [
        (each, place_within(need, [*account, *each.bounds], each.holders, may_evict=may_evict)) for each in candidates
    ]
    return min(verdicts, key=lambda pair: rank(*pair), default=None)


def rank(candidate: Candidate, verdict: Verdict) -> tuple[float, ...]:
    """The lower, the better."""
    match verdict:
        case Fits():
            return (0,)
        case Wait(soon=True):
            return (1,)
        case Evict(victims):
            return (2, bool(victims), sum(victim.loss for victim in victims), len(victims))
        case Wait():
            return (3,)
        case Never():  # the largest place is told
            return (4, -sum(bound.most for bound in candidate.bounds[1:] or candidate.bounds))


def place_within(need: Need, bounds: Sequence[Bound], holders: Sequence[MemoryHolder], *, may_evict: bool) -> Verdict:
    """Decides for one replica that must keep within all of the `bounds`; nobody goes in vain."""
    for bound in bounds:
        if bound.size(need) > bound.most:
            return place(need, bound, holders, may_evict=may_evict)
    must_wait: Evict | None = None
    going: tuple[MemoryHolder, ...] = ()
    for bound in bounds:
        match place(need, bound, holders, may_evict=may_evict):
            case Evict(victims) as must_wait:  # the later reason names those of the earlier ones too: they are leaving
                going += victims
                if victims:
                    holders = [replace(each, leaving=True) if each in victims else each for each in holders]
            case Wait() | Never() as verdict:
                return verdict
    return Fits() if must_wait is None else Evict(going, must_wait.reason)


def place(need: Need, bound: Bound, holders: Sequence[MemoryHolder], *, may_evict: bool) -> Verdict:
    """Decides for one replica within one bound, where `holders` hold memory.

    Evicts those first that are missed the least, and then spares those of them that were not needed after all.
    """
    holders = [each for each in holders if (each.own or not bound.limit.own) and bound.covers(each.place)]
    count = bound.size(need)

    def size(holder: MemoryHolder) -> int:
        return bound.size(holder.need, holder.place or NOWHERE)

    if count > bound.most:
        return Never(bound.tell(bound.limit.never, count, 0), bound.limit.cause)
    free = bound.most - sum(size(holder) for holder in holders)
    leaving = [holder for holder in holders if holder.leaving]
    soon = free + sum(size(holder) for holder in leaving) - bound.claimed
    why = bound.tell(bound.limit.why, count, free)
    if count <= min(free, soon):
        loading = names(holder for holder in holders if holder.loading) if bound.limit.in_turn else ""
        return Wait(bound.tell(bound.limit.in_turn, count, free, loading), soon=True) if loading else Fits()
    if count <= soon:
        return Evict((), f"waiting for {names(leaving)} to leave{why}")
    if may_evict and (victims := choose_victims(count - soon, holders, size)):
        return Evict(victims, f"waiting for {names([*leaving, *victims])} to leave{why}")
    busy = names(holder for holder in holders if holder.idle_s is None and not holder.leaving)
    because = f"; busy: {busy}" if busy else ""
    words = bound.limit.wait_hidden if any(each.hidden for each in holders) else bound.limit.wait
    return Wait(bound.tell(words or bound.limit.wait, count, min(free, soon)) + because)


def choose_victims(
    missing: int, holders: Sequence[MemoryHolder], size: Callable[[MemoryHolder], int] = lambda each: each.memory_bytes
) -> tuple[MemoryHolder, ...]:
    """Idle holders that free at least `missing`, those first whose bytes are missed the least; empty when they cannot.

    Of equal ones the longest idle goes.
    """
    idle = [
        (holder.loss / size(holder), -holder.idle_s, holder)
        for holder in holders
        if holder.idle_s is not None and not holder.leaving and size(holder)
    ]
    chosen: list[MemoryHolder] = []
    freed = 0
    for _, _, holder in sorted(idle, key=lambda each: each[:2]):
        if freed >= missing:
            break
        chosen.append(holder)
        freed += size(holder)
    if freed < missing:
        return ()
    for holder in reversed(list(chosen)):  # the last chosen, who are missed the most, are spared first
        if freed - size(holder) >= missing:
            chosen.remove(holder)
            freed -= size(holder)
    return tuple(chosen)


def names(holders: Iterable[MemoryHolder]) -> str:
    """Each model once, for a person."""
    return ", ".join(sorted({holder.name for holder in holders}))
