"""Which of an account's replicas that are wanted is placed first, and when somebody is asked
to leave for it. Pure."""

from __future__ import annotations

from modelyard.control.replicas import ManagedCluster, Replica

PATIENCE = 4
"""While others, for which more requests wait, go first, a replica waits at most so many times as long as its last boot
took."""

COMPANY = 3
"""A boot that answers one request waits while another is under way, at most so many times as long as the last one took:
most that wait so are joined by others, whom the same boot then answers."""
COMPANY_S = 5.0
"""And no longer than that: where boots take so long, whoever waits has waited enough."""


def urgency(managed: ManagedCluster, replica: Replica, *, now: float) -> tuple[float, ...]:
    """Who of an account is placed first: the lowest. One that has waited for PATIENCE boots is; of the others, the one
    for which most requests wait, since they are answered by one boot."""
    if becomes_urgent_at(managed, replica) <= now:
        return (0, 0, replica.since)
    return (1, -managed.route.load().queued, replica.since)


def becomes_urgent_at(managed: ManagedCluster, replica: Replica) -> float:
    """The monotonic time from which on it has waited for PATIENCE boots."""
    return replica.since + PATIENCE * managed.boot_s


def is_patient(managed: ManagedCluster, replica: Replica, under_way: int, most: float, now: float) -> bool:
    """Whether nobody is asked to leave for it yet: as many boots are under way as help, or it is waited for by one
    request, which others may still join. `under_way`: boots, those that wait for somebody to leave among them."""
    waits_s = min(COMPANY * managed.boot_s, COMPANY_S)
    lonely = managed.route.load().queued <= 1 and now - replica.since < waits_s
    return under_way >= most or (under_way > 0 and lonely)
