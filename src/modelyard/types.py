"""The nouns that cross package borders, as frozen records. Owns their shape and validation; does nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from modelyard.errors import InvalidRequest

GIB = 1024**3

# The hub's own rule for repository names: 1-96 of [A-Za-z0-9_.-], no leading or trailing dot or dash, no "..".
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_MODEL_ID = re.compile(rf"{_NAME}/{_NAME}")


def check_model_id(model_id: str) -> str:
    """`model_id` itself when it is a well-formed `org/name`. Raises InvalidRequest otherwise."""
    if not _MODEL_ID.fullmatch(model_id) or ".." in model_id or "--" in model_id:
        raise InvalidRequest(
            field="model",
            got=model_id,
            accepted="org/name, each 1-96 letters, digits, '-', '_' or '.', not starting or ending with '-' or '.'",
        )
    return model_id


VariantKind = Literal["onnx", "onnx.8-bit"]
"""The forms a model can be made into; each is the ending of the variant's name."""


@dataclass(frozen=True, slots=True)
class Account:
    """Who owns keys, clusters and bills. Limits that are None do not exist.

    `max_instances`, `max_memory_bytes`: of its replicas together; `max_concurrent`: its requests under way at once;
    `max_models`: its clusters. Money is in billionths of a US dollar: `credit_nano` is all that was ever paid in
    advance (None: billed afterwards), `monthly_limit_nano` the most it may spend in a calendar month (UTC).
    """

    id: str
    name: str
    created_at: datetime
    max_instances: int | None = None
    max_memory_bytes: int | None = None
    max_concurrent: int | None = None
    max_models: int | None = None
    credit_nano: int | None = None
    monthly_limit_nano: int | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """What one account may have at once; None: as much as there is. `instances` and `memory_bytes` are of all its
    replicas together, `models` its clusters, `concurrent` its requests under way."""

    instances: int | None = None
    memory_bytes: int | None = None
    concurrent: int | None = None
    models: int | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as stored: never the key itself. `prefix` is its first characters, to recognise it by.

    `rate_limit`: requests it may make per minute; None: what the server's settings say, 0: no limit.
    """

    id: str
    account_id: str
    name: str
    prefix: str
    created_at: datetime
    revoked_at: datetime | None = None
    rate_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many replicas a cluster may and should have: 0 ≤ min ≤ desired ≤ max."""

    min: int = 0
    desired: int = 1
    max: int = 1


@dataclass(frozen=True, slots=True)
class Cluster:
    """Desired state of one model for one account, as stored."""

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


@dataclass(frozen=True, slots=True)
class Tariff:
    """The terms an instance is billed under, kept with it so that its bill can be computed again at any time.

    `pico_per_gb_s`: US dollars × 10^12 for one GB of required memory (2^30 bytes) and second. What counts is billed for
    `minimum_s` at least and then rounded up to a multiple of `round_s`, in seconds (0: neither). `counts`: `ready`, the
    time from ready to end; `life`, from launch to end; `inference`, only the seconds that requests took (then the
    instance itself costs nothing, its requests do).
    """

    pico_per_gb_s: int
    minimum_s: int = 60
    round_s: int = 60
    counts: str = "ready"


@dataclass(frozen=True, slots=True)
class Instance:
    """One replica's life as the ledger sees it. `ended_at` None: still running, or the server was killed.

    `heartbeat_at` is the last moment it was known alive; after a crash the interval is closed there.
    `pid` and `pid_started` (clock ticks since boot, from /proc) name the process, for finding strays.
    `tariff` None: it is nobody's bill.
    """

    id: str
    cluster_id: str
    account_id: str
    model_id: str
    node: str
    memory_bytes: int
    created_at: datetime
    heartbeat_at: datetime
    ready_at: datetime | None = None
    ended_at: datetime | None = None
    end_reason: str | None = None
    pid: int | None = None
    pid_started: int | None = None
    tariff: Tariff | None = None


class JobState(StrEnum):
    """How far a job has got."""

    QUEUED = "queued"
    DOWNLOADING = "downloading"
    INSPECTING = "inspecting"
    EXPORTING = "exporting"
    BENCHMARKING = "benchmarking"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Job:
    """The work of making one model available: its files fetched, its memory and speed measured.

    `message`: what it is doing, or, when FAILED, why it failed and what to do. `attempts`: how often it was begun.
    `started_at` and `ended_at` are of the latest attempt.
    """

    model_id: str
    state: JobState
    message: str
    attempts: int
    created_at: datetime
    modified_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen unless somebody asks."""
        return self.state in (JobState.DONE, JobState.FAILED)


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as it was metered. `settled_at` None: it is under way, or its server was killed.

    `at`: when it came; `took_us`: microseconds that a replica spent on it; `outcome`: answered, failed, cancelled, or
    lost when its replica or server died. Money in billionths of a US dollar: `reserved_nano` counts as spent until it
    is settled, `cost_nano` is its memory × time, `charged_nano` the part of that which is on the bill.
    """

    id: str
    account_id: str
    model_id: str
    memory_bytes: int
    at: datetime
    key_id: str | None = None
    instance_id: str | None = None
    settled_at: datetime | None = None
    outcome: str | None = None
    took_us: int = 0
    reserved_nano: int = 0
    cost_nano: int = 0
    charged_nano: int = 0


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


class Source(StrEnum):
    """Where a model's files come from."""

    FOLDER = "folder"
    HUB = "hub"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model without loading it.

    `memory_bytes` is the measured peak when `measured`, else an estimate from the weights.
    `path` is the folder that holds the files when they are on this machine, else None.
    `remote_code`: loading runs code from its repository; `pickled`: its weights are pickle files only.
    `max_batch`: most requests in one batch, as far as that was measured to pay; None: the task's own.
    `refusal` says why the model must not be served (pickle weights, remote code, no weights), with the remedy.
    """

    model_id: str
    task: str
    source: Source
    memory_bytes: int
    measured: bool = False
    path: Path | None = None
    architecture: str | None = None
    library: str = "transformers"
    parameters: int | None = None
    weight_bytes: int | None = None
    dtype: str | None = None
    max_length: int | None = None
    revision: str | None = None
    license: str | None = None
    remote_code: bool = False
    pickled: bool = False
    max_batch: int | None = None
    refusal: str | None = None

    @property
    def runtime(self) -> str:
        """The runtime that holds such a model in a worker. sentence-transformers folders are transformers inside."""
        return self.library if self.library in ("diffusers", "onnx") else "transformers"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A model's peak memory as measured. `weight_bytes`: of the weights it was measured with; None: not known.
    `max_batch`: the most requests in one batch while it was measured; None: the task's own limit.

    It says nothing of weights of another size: then the model is another one under the same name.
    """

    memory_bytes: int
    weight_bytes: int | None = None
    max_batch: int | None = None

    def holds_for(self, weight_bytes: int | None) -> bool:
        """Whether it was made with weights of this size, as far as is known."""
        return self.weight_bytes is None or weight_bytes is None or self.weight_bytes == weight_bytes


@dataclass(frozen=True, slots=True)
class Listing:
    """A model's line in the catalogue: what its files, a published list or a measurement say of it.

    `source`: folder, hub, published (a shipped list, files unseen), requested (asked for, files unseen) or variant.
    `memory_source`: measured, estimated or published; only the first two say what this server's replicas need.
    `refusal` says why it must not be served, with the remedy. `facts` is plain JSON, such as `{"load_ms": 412}`;
    its `weight_bytes` tells which weights a measurement was made with.
    """

    model_id: str
    source: str
    updated_at: datetime
    task: str | None = None
    memory_bytes: int | None = None
    memory_source: str | None = None
    parameters: int | None = None
    architecture: str | None = None
    revision: str | None = None
    license: str | None = None
    variant_of: str | None = None
    refusal: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReplicaSpec:
    """Everything a worker needs to serve one model. `secret` authenticates the connection to it.

    `remote_code` and `pickled`: the model needs it, and the operator has allowed it. `max_batch`: most calls in one
    batch, at least 1; None: the task's own. `memory_limit_bytes`: what the worker may allocate for its
    model, weights included; None: as much as there is.
    """

    replica_id: str
    model_id: str
    path: str
    task: str
    runtime: str = "transformers"
    device: str = "auto"
    threads: int = 1
    remote_code: bool = False
    pickled: bool = False
    secret: str = ""
    log_path: str | None = None
    max_batch: int | None = None
    memory_limit_bytes: int | None = None
