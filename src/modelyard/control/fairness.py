"""In what order the replicas of several accounts are placed: first those of the account that holds the least.

What an account holds is the larger of its shares in the nodes' memory and in their devices', divided by its weight.
Pure.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

from modelyard.engine.base import Need, Node

T = TypeVar("T")
Urgency = tuple[float, ...]
NOTHING = Need(0, 0)


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


def in_turn(waiting: Mapping[str, Iterable[tuple[Urgency, T]]], share_of: Callable[[str], float]) -> Iterator[T]:
    """Each of those that wait, once. `waiting`: by account; `share_of` is asked anew behind each of an account's.

    The account with the least share is next, and the most urgent of its own, which the lowest urgency is; of accounts
    with equal shares, the one for which something more urgent waits.
    """
    queues = {account_id: deque(sorted(own, key=lambda each: each[0])) for account_id, own in waiting.items() if own}
    turns = [(share_of(account_id), own[0][0], account_id) for account_id, own in queues.items()]
    heapq.heapify(turns)
    while turns:
        _, _, account_id = heapq.heappop(turns)
        own = queues[account_id]
        yield own.popleft()[1]
        if own:
            heapq.heappush(turns, (share_of(account_id), own[0][0], account_id))
