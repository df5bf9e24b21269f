"""Clusters, their events and their replicas' output as v2 shows them, and what a client may change of a cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import UNSET, Meta, UnsetType

from modelyard.clock import iso
from modelyard.control.clusters import MAX_TIMEOUT_S, Report
from modelyard.control.states import ClusterStatus, ReplicaState
from modelyard.control.tallies import ReplicaUse
from modelyard.engine.base import ReplicaLog
from modelyard.gateway.remedies import V2, sentence
from modelyard.gateway.shapes.base import Answer, Shape, described, moment, show_moment
from modelyard.records import clusters as records
from modelyard.records.clusters import MAX_REPLICAS, Changes
from modelyard.units import GIB

MAX_EVENTS = 1000
"""Events in one answer: about 200 kB."""
MAX_LOGS = 100
"""Replicas whose output is in one answer: 64 KiB of each."""
LAST_EVENT_ID = 2**62
"""Above any event's id, and still a database's integer."""

Instances = Annotated[int, Meta(ge=0, le=MAX_REPLICAS)]
IdleSeconds = Annotated[int, Meta(ge=0, le=MAX_TIMEOUT_S)]
TIMEOUT = described(
    "SECONDS without a request after which the cluster shrinks to min (default 1800).",
    accepted=f"a whole number from 0 to {MAX_TIMEOUT_S} (seconds)",
)


Switch = Literal["on", "off"]


class Capacity(Shape, frozen=True, kw_only=True):
    """How many instances the cluster may and should have: 0 ≤ min ≤ desired ≤ max."""

    min: Annotated[int, described("Instances kept even without requests.")]
    desired: Annotated[int, described("Instances to start with, and to keep while in use.")]
    max: Annotated[int, described("Most instances under load.")]


class Event(Shape, frozen=True, kw_only=True):
    """One line of a cluster's log."""

    id: Annotated[int, described("Grows with time; pass the last one as `after` to read on.")]
    at: Annotated[str, moment("When it happened.")]
    model_id: Annotated[str, described("The model.")]
    kind: Annotated[str, described("What sort of event: created, booting, ready, draining, failed, ...")]
    message: Annotated[str, described("The event in words.")]


class Replica(Shape, frozen=True, kw_only=True):
    """One instance, at the place that is its own."""

    id: Annotated[str, described("Its id, as in logs and on bills.")]
    state: Annotated[ReplicaState, described("What it is doing.")]
    node: Annotated[str | None, described("The machine that it is on; null: it waits for one.")]
    devices: Annotated[Sequence[str], described("The accelerators there that it uses.")]
    reserved_bytes: Annotated[int, described("Memory that is reserved for it.")]
    held_bytes: Annotated[int, described("What it was last seen to hold.")]
    reserved_device_bytes: Annotated[int, described("The same of accelerators, together.")]
    held_device_bytes: Annotated[int, described("The most it was seen to hold there.")]
    in_flight: Annotated[int, described("Requests that it is working on.")]


class GoneCluster(Shape, frozen=True, kw_only=True):
    """A cluster that is no more."""

    model_id: Annotated[str, described("The model.")]


class Cluster(Shape, frozen=True, kw_only=True):
    """An auto-scaling cluster of one model, for one account."""

    model_id: Annotated[str, described("The model, org/name.")]
    status: Annotated[ClusterStatus, described("What it is doing.")]
    created: Annotated[str, moment("When it was created.")]
    modified: Annotated[str, moment("When it was last changed by a client.")]
    timeout: Annotated[int, TIMEOUT]
    capacity: Annotated[Capacity, described("How many instances it may and should have.")]
    instances: Annotated[int, described("Instances that exist or are on their way.")]
    inferences: Annotated[int, described("Requests answered since it was created.")]
    last_inference: Annotated[str | None, moment("When the last request was answered.")]
    expires_at: Annotated[str | None, moment("When it will shrink to min unless used.")]
    ram_required: Annotated[float | None, described("GB of memory one instance needs.")]
    ready: Annotated[int, described("Instances that take requests.")]
    in_flight: Annotated[int, described("Requests that instances are working on.")]
    queued: Annotated[int, described("Requests that wait for an instance.")]
    error: Annotated[str | None, described("Why it failed, and what to do.")]
    events: Annotated[Sequence[Event] | UnsetType, described("Its last events, with ?events=N.")] = UNSET
    replicas: Annotated[
        Sequence[Replica] | UnsetType, described("Its instances; where one cluster alone is listened to.")
    ] = UNSET


class AccountCluster(Cluster, frozen=True, kw_only=True):
    """A cluster, and whose it is."""

    account: Annotated[str, described("The name of the account.")]
    account_id: Annotated[str, described("Its id.")]


class GoneAccountCluster(GoneCluster, frozen=True, kw_only=True):
    """A cluster that is no more, and whose it was."""

    account: Annotated[str, described("The name of the account.")]
    account_id: Annotated[str, described("Its id.")]


class ClusterAnswer(Answer[Cluster], frozen=True, kw_only=True):
    """A cluster, under both names that clients read it by."""

    cluster: Annotated[Cluster, described("The same as output.")]


class ReplicaOutput(Shape, frozen=True, kw_only=True):
    """The end of what one replica has printed."""

    replica: Annotated[str, described("The replica.")]
    text: Annotated[str, described("The end of its output.")]


class CapacityBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds to change; the others stay, or are min 0, desired 1 and max 1."""

    min: Annotated[Instances | None, described("Instances kept even without requests (0).")] = None
    desired: Annotated[Instances | None, described("Instances to start with, and to keep while in use (1).")] = None
    max: Annotated[Instances | None, described("Most instances under load (1).")] = None


CAPACITY = described(
    "How many instances it may and should have: 0 ≤ min ≤ desired ≤ max.",
    accepted='an object such as {"min": 0, "desired": 1, "max": 2}',
    example={"min": 0, "desired": 1, "max": 2},
)


class PutBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a cluster shall be; everything may be left out."""

    capacity: Annotated[CapacityBody | None, CAPACITY] = None
    timeout: Annotated[IdleSeconds | None, TIMEOUT] = None


class PatchBody(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What shall change of a cluster."""

    capacity: Annotated[CapacityBody | None, CAPACITY] = None
    status: Annotated[Switch | None, described("Whether it may run instances.", accepted='"on" or "off"')] = None
    timeout: Annotated[IdleSeconds | None, TIMEOUT] = None


class ClusterQuery(Shape, frozen=True, kw_only=True):
    """What to show of a cluster."""

    events: Annotated[int, Meta(ge=0, le=MAX_EVENTS), described("How many of its last events to add.")] = 0


class NamedClusterQuery(ClusterQuery, frozen=True, kw_only=True):
    """The same, and of which."""

    model: Annotated[str, described("The model, org/name.")]


class EventsQuery(Shape, frozen=True, kw_only=True):
    """Which events of a cluster."""

    after: Annotated[int, Meta(ge=0, le=LAST_EVENT_ID), described("Only events after this id.")] = 0
    limit: Annotated[int, Meta(ge=0, le=MAX_EVENTS), described("At most this many.")] = 100


class LogsQuery(Shape, frozen=True, kw_only=True):
    """Of which replicas."""

    replicas: Annotated[int, Meta(ge=0, le=MAX_LOGS), described("Of how many workers.")] = 1


def show_cluster(report: Report, events: Sequence[records.Event] | None = None) -> Cluster:
    """A cluster as clients see it. `events`: its last ones, where they were asked for."""
    cluster, memory_bytes = report.cluster, report.memory_bytes
    capacity = cluster.capacity
    return Cluster(
        model_id=cluster.model_id,
        status=report.status,
        created=iso(cluster.created_at),
        modified=iso(cluster.modified_at),
        timeout=cluster.timeout_s,
        capacity=Capacity(min=capacity.min, desired=capacity.desired, max=capacity.max),
        instances=report.instances,
        inferences=cluster.inferences,
        last_inference=show_moment(cluster.last_inference_at),
        expires_at=show_moment(report.expires_at),
        ram_required=None if memory_bytes is None else round(memory_bytes / GIB, 4),
        ready=report.ready,
        in_flight=report.in_flight,
        queued=report.queued,
        error=None if report.problem is None else sentence(report.problem, V2),
        events=UNSET if events is None else show_events(events),
    )


def show_account_cluster(report: Report, account: str) -> AccountCluster:
    """The same as the operator sees it. `account`: the name of its account."""
    shown = msgspec.structs.asdict(show_cluster(report))
    return AccountCluster(**shown, account=account, account_id=report.cluster.account_id)


def show_replicas(uses: Iterable[ReplicaUse]) -> Sequence[Replica]:
    """Replicas as clients see them."""
    return [Replica(**replica_fields(use)) for use in uses]


def replica_fields(use: ReplicaUse) -> dict[str, Any]:
    """What is told of a replica alike, whoever asks."""
    return {
        "id": use.id,
        "state": use.state,
        "node": None if use.place is None else use.place.node,
        "devices": [] if use.place is None else list(use.place.devices),
        "reserved_bytes": use.reserved.memory_bytes,
        "held_bytes": use.held.memory_bytes,
        "reserved_device_bytes": use.reserved.device_bytes,
        "held_device_bytes": use.held.device_bytes,
        "in_flight": use.in_flight,
    }


def show_events(events: Sequence[records.Event]) -> Sequence[Event]:
    """Lines of a cluster's log, as the store has written them."""
    return [
        Event(id=cast(int, event.id), at=iso(event.at), model_id=event.model_id, kind=event.kind, message=event.message)
        for event in events
    ]


def show_logs(logs: Sequence[ReplicaLog]) -> Sequence[ReplicaOutput]:
    """What replicas have printed."""
    return [ReplicaOutput(replica=log.name, text=log.text) for log in logs]


def to_changes(body: PutBody | PatchBody) -> Changes:
    """What a body asks to change."""
    capacity = body.capacity or CapacityBody()
    status = body.status if isinstance(body, PatchBody) else None
    return Changes(
        min=capacity.min,
        desired=capacity.desired,
        max=capacity.max,
        timeout_s=body.timeout,
        enabled=None if status is None else status == "on",
    )
