"""In what order the replicas of several accounts are placed: first those of the account that holds the least.

What an account holds is the larger of its shares in the nodes' memory and in their devices', divided by its weight.
No clock, no I/O.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from modelyard.engine.base import Need, Node

T = TypeVar("T")
Urgency = tuple[float, ...]
Turn = tuple[float, Urgency, str]
"""An account's: its share when it was found, the urgency of the most urgent of its own, its id."""
Mark = tuple[Urgency, int, Hashable]
"""Of one that waits: its urgency, the number of the call that put it there, its key. Of equal urgencies the one that
was put first comes first."""


def whole_of(nodes: Iterable[Node]) -> Need:
    """All memory of the nodes, and of their devices."""
    nodes = list(nodes)
    devices = sum(device.memory_bytes for node in nodes for device in node.devices)
    return Need(sum(node.memory_bytes for node in nodes), devices)


def share_of(held: Need, whole: Need, weight: int) -> float:
    """An account's share for its weight, 1 or more: 0 where it holds nothing, 1 where one of weight 1 holds all of the
    memory, or of the devices', that there is."""
    memory = held.memory_bytes / max(1, whole.memory_bytes)
    device = held.device_bytes / max(1, whole.device_bytes)
    return max(memory, device) / weight


@dataclass(eq=False, slots=True)
class Waiting(Generic[T]):
    """One that waits. `number`: of the call that put it there."""

    account_id: str
    urgency: Urgency
    number: int
    item: T


@dataclass(eq=False, slots=True)
class Line:
    """Those of one account, with some that wait no more. `waiting`: not taken in this round yet, a heap; `taken`: the
    others, in the order in which they were; `in_order`: that is the order of their marks, too. `round`: the number of
    the one that this was told of last."""

    waiting: list[Mark] = field(default_factory=list)
    taken: list[Mark] = field(default_factory=list)
    in_order: bool = True
    round: int = 0

    def take(self, waits: Callable[[Mark], bool]) -> None:
        """The first has been taken. The one before, if it does not wait any more, is forgotten: what a round began with
        of those that have been launched since would all be passed over at once in the next."""
        if self.taken and not waits(self.taken[-1]):
            self.taken.pop()
        mark = heapq.heappop(self.waiting)
        self.in_order = self.in_order and (not self.taken or self.taken[-1] < mark)
        self.taken.append(mark)

    def begin_round(self, number: int) -> None:
        """All wait again."""
        self.round = number
        if self.waiting or not self.in_order:
            self.taken = sorted([*self.taken, *self.waiting])
        self.waiting, self.taken, self.in_order = self.taken, [], True  # what is in order is a heap


class Turns(Generic[T]):
    """Those that wait, by account. Each is taken once in a round.

    The account with the least share is next, and the most urgent of its own, which the lowest urgency is; of accounts
    with equal shares, the one for which something more urgent waits. One that is put in the middle of a round is taken
    in it too.
    """

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Waiting[T]] = {}
        self._lines: dict[str, Line] = {}
        self._turns: list[Turn] = []  # a heap, with some that others have replaced
        self._turn_of: dict[str, Turn] = {}
        """By account, the one that holds."""
        self._unranked: dict[str, None] = {}
        """Accounts of which something more urgent may wait than their turn says."""
        self._round = 0
        self._puts = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, key: Hashable, account_id: str, urgency: Urgency, item: T) -> None:
        """Lets one wait. With another urgency than before, it is to be taken again in this round. Idempotent."""
        known = self._waiting.get(key)
        if known is not None and known.urgency == urgency and known.account_id == account_id:
            return
        self._puts += 1
        self._waiting[key] = Waiting(account_id, urgency, self._puts, item)
        line = self._lines.get(account_id)
        if line is None:
            line = self._lines[account_id] = Line(round=self._round)
        heapq.heappush(line.waiting, (urgency, self._puts, key))
        self._unranked[account_id] = None

    def drop(self, key: Hashable) -> None:
        """It waits no more. Idempotent."""
        self._waiting.pop(key, None)

    def begin_round(self) -> None:
        """Each that waits is taken once more."""
        self._turns.clear()
        self._turn_of.clear()
        self._round += 1
        self._unranked = dict.fromkeys(self._lines)

    def rank(self, share_of: Callable[[str], float], most: int) -> bool:
        """Finds the turns of so many of the accounts that have none yet in this round; whether all have one. What is
        left of them `take` does at once."""
        for account_id in list(islice(self._unranked, most)):
            del self._unranked[account_id]
            self._rank(account_id, share_of)
        return not self._unranked

    def take(self, share_of: Callable[[str], float]) -> T | None:
        """The next of this round; None: it has ended. `share_of`: an account's, by its id, at this moment."""
        self.rank(share_of, len(self._unranked))
        while self._turns:
            turn = heapq.heappop(self._turns)
            account_id = turn[2]
            line = self._lines[account_id]
            first = self._first(line)
            if first is None or self._turn_of[account_id] is not turn:
                continue
            if (share_of(account_id), first[0], account_id) > turn:  # it holds more by now, or its next can wait
                self._rank(account_id, share_of)
                continue
            line.take(self._waits)
            heapq.heappush(self._turns, turn)
            return self._waiting[first[2]].item
        return None

    def _rank(self, account_id: str, share_of: Callable[[str], float]) -> None:
        line = self._lines[account_id]
        begins = line.round != self._round
        if begins:
            line.begin_round(self._round)
        if (first := self._first(line)) is not None:
            turn = self._turn_of[account_id] = (share_of(account_id), first[0], account_id)
            heapq.heappush(self._turns, turn)
        elif begins:
            del self._lines[account_id]  # nobody of this account waits

    def _first(self, line: Line) -> Mark | None:
        """The most urgent that is to be taken in this round."""
        while line.waiting:
            if self._waits(line.waiting[0]):
                return line.waiting[0]
            heapq.heappop(line.waiting)
        return None

    def _waits(self, mark: Mark) -> bool:
        """Whether it is the mark of one that waits, put there last."""
        known = self._waiting.get(mark[2])
        return known is not None and known.number == mark[1]
