"""Clusters as they are wanted, what is asked of them, and the lines of their logs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from modelyard.errors import InvalidRequest

MAX_REPLICAS = 1000


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many replicas a cluster may and should have: 0 ≤ min ≤ desired ≤ max."""

    min: int = 0
    desired: int = 1
    max: int = 1


@dataclass(frozen=True, slots=True)
class Changes:
    """What is asked of a cluster; None: as it is where there is one, the default where there is none."""

    min: int | None = None
    desired: int | None = None
    max: int | None = None
    timeout_s: int | None = None
    enabled: bool | None = None


@dataclass(frozen=True, slots=True)
class Cluster:
    """Desired state of one model for one account, as stored.

    `version`: which of all changes to clusters was the last to this one; `wake_version`: which was the last after which
    it starts anew when it had idled out or failed. Neither is a part of what is wanted. `timeout_given`: a client has
    said `timeout_s`; else it is what the server's settings said when the cluster was made.
    """

    id: str
    account_id: str
    model_id: str
    capacity: Capacity
    timeout_s: int
    enabled: bool
    created_at: datetime
    modified_at: datetime
    inferences: int = 0
    last_inference_at: datetime | None = None
    version: int = field(default=0, compare=False)
    wake_version: int = field(default=0, compare=False)
    timeout_given: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a cluster's log, written for a person to read."""

    account_id: str
    model_id: str
    at: datetime
    kind: str
    message: str
    cluster_id: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None


def check_capacity(base: Capacity, changes: Changes) -> Capacity:
    """`base` with the changes, when 0 ≤ min ≤ desired ≤ max holds. Raises InvalidRequest saying which bound broke."""
    given = {"min": changes.min, "desired": changes.desired, "max": changes.max}
    value = {name: getattr(base, name) if number is None else number for name, number in given.items()}
    for low, high in (("min", "desired"), ("desired", "max")):
        if value[low] > value[high]:
            source = {name: "" if given[name] is not None else " (as it was, or the default)" for name in given}
            raise InvalidRequest(
                f"capacity.{low}: {value[low]}{source[low]} is above capacity.{high}: {value[high]}{source[high]}; "
                "accepted: 0 ≤ min ≤ desired ≤ max. Send the bounds that must change together.",
                field=f"capacity.{high if given[low] is None else low}",
            )
    return Capacity(**value)
