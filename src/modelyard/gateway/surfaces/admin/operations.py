"""Every call of the admin API."""

from __future__ import annotations

from collections.abc import Iterator

from modelyard.accounts.aliases import Aliases
from modelyard.clock import Clock
from modelyard.control.journal import Journal
from modelyard.control.plane import Plane
from modelyard.gateway.event_streams import EventStreams
from modelyard.gateway.operation import Operation
from modelyard.gateway.surfaces.admin.accounts import ACCOUNT_CALLS, AccountCalls
from modelyard.gateway.surfaces.admin.aliases import ALIAS_CALLS, AliasCalls
from modelyard.gateway.surfaces.admin.clusters import CLUSTER_CALLS, AccountClusterCalls
from modelyard.gateway.surfaces.admin.gate import Gate
from modelyard.gateway.surfaces.admin.keys import KEY_CALLS, KeyCalls
from modelyard.gateway.surfaces.admin.machines import MACHINE_CALLS, MachineCalls
from modelyard.gateway.surfaces.admin.server import SERVER_CALLS, ServerCalls
from modelyard.gateway.surfaces.admin.shares import SHARE_CALLS, ShareCalls
from modelyard.gateway.surfaces.admin.usage import USED_CALLS, UsedCalls
from modelyard.jobs.queue import Jobs
from modelyard.store.store import Store

ADMIN_CALLS = (
    *ACCOUNT_CALLS,
    *KEY_CALLS,
    *ALIAS_CALLS,
    *SHARE_CALLS,
    *USED_CALLS,
    *SERVER_CALLS,
    *CLUSTER_CALLS,
    *MACHINE_CALLS,
)
"""All of them, described."""


def admin_operations(
    gate: Gate,
    aliases: Aliases,
    jobs: Jobs,
    plane: Plane,
    store: Store,
    journal: Journal,
    streams: EventStreams,
    clock: Clock,
) -> Iterator[Operation]:
    """All of them, with what answers them."""
    yield from AccountCalls(gate).operations()
    yield from KeyCalls(gate).operations()
    yield from AliasCalls(gate, aliases).operations()
    yield from ShareCalls(gate).operations()
    yield from UsedCalls(gate, journal).operations()
    yield from ServerCalls(gate, jobs, store.jobs, streams).operations()
    yield from AccountClusterCalls(gate, plane, streams).operations()
    yield from MachineCalls(gate, plane, streams, store.history, clock).operations()
