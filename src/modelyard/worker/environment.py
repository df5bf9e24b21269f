"""The environment of workers, and of the programs that start them. Imports nothing that a worker would not need."""

from __future__ import annotations

from collections.abc import Mapping

QUIET_LIBRARIES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""Environment that keeps the native libraries from starting threads at import (workers raise their count later), from
spinning while they wait (on a machine with other work a spinning thread makes an operation ten times slower), and from
opening connections."""
_KEPT_FROM_WORKERS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY", "DATABASE_URL")
"""Parts of names of variables whose values are secrets of the server."""


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What workers see of the server's environment: no settings, no credentials, no network for the model library."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("MODELYARD_") and not any(part in name.upper() for part in _KEPT_FROM_WORKERS)
    }
    return {**kept, **QUIET_LIBRARIES}
