"""A fault of ours that one cluster meets must not stop the supervision of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from modelyard.control.replicas import ManagedCluster

log = logging.getLogger(__name__)


@contextmanager
def contained(managed: ManagedCluster) -> Iterator[None]:
    """Logs what goes wrong with one cluster, and goes on."""
    try:
        yield
    except Exception:
        log.exception("an error in the supervision of the cluster of %s", managed.cluster.model_id)
