"""The environment of workers, and of the programs that start them. Imports nothing that a worker would not need."""

from __future__ import annotations

from collections.abc import Mapping

QUIET_LIBRARIES = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "1000",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    "JOBLIB_MULTIPROCESSING": "0",
}
"""Environment that keeps the native libraries from starting threads at import (workers raise their count later), from
spinning for long while they wait (beside other work on the same cores that makes an operation ten times slower; where
they sleep at once a second thread is worth nothing: GNU's OpenMP spins for some 50 µs, as ONNX Runtime does here),
from opening CUDA to see whether it is there (no fork could use it then), from opening connections, and from trying at
import what the sandbox forbids (joblib, of sacremoses: a semaphore)."""
PASSED_ON = frozenset(
    {"PATH", "HOME", "TMPDIR", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONHASHSEED",
     "PYTHONDONTWRITEBYTECODE", "PYTHONWARNINGS", "LD_LIBRARY_PATH", "LD_PRELOAD", "COVERAGE_PROCESS_START"}
)  # fmt: skip
"""What an interpreter needs to start and to find its libraries."""
PASSED_ON_BEGINNINGS = (
    "LC_", "CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "PYTORCH_", "TORCH_", "OMP_", "KMP_", "GOMP_", "MKL_",
    "OPENBLAS_", "ORT_", "MALLOC_", "GLIBC_TUNABLES",
)  # fmt: skip
"""Settings of the numerical libraries, of memory allocators, and of the language."""
SECRET_WORDS = ("TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "ACCESS_KEY")
"""Parts of names that would make a secret even of one of those."""


def worker_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What workers see of the server's environment: what their libraries need, by name, and nothing else."""
    kept = {
        name: value
        for name, value in environ.items()
        if (name in PASSED_ON or name.startswith(PASSED_ON_BEGINNINGS))
        and not any(word in name.upper() for word in SECRET_WORDS)
    }
    return {**kept, **QUIET_LIBRARIES}
