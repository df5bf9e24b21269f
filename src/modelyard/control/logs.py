"""Where the outputs of replicas go, below the engine's folder of logs. Writes nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from modelyard.records.clusters import Cluster


def log_folder(account_id: str, model_id: str) -> str:
    """Where the outputs of a cluster's replicas go, below the engine's folder of logs."""
    return f"{account_id}/{model_id.replace('/', '--')}"


def log_path(cluster: Cluster, replica_id: str) -> str:
    """Where a replica's output goes, below the engine's folder of logs: names sort in order of time."""
    now = datetime.now(UTC)
    stamp = f"{now:%Y%m%d-%H%M%S}-{now.microsecond:06d}"
    return f"{log_folder(cluster.account_id, cluster.model_id)}/{stamp}-{replica_id}.log"
