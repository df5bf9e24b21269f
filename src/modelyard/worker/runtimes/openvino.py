"""Variants in ONNX format, held by OpenVINO where it is installed. Owns how that library is asked for the same numbers.

Imports no torch, as `onnx` does not, whose model this is: only what runs the graph is another one.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# As many kernels as it keeps for shapes to come take more memory than small models; read when the library is loaded.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16")

import openvino

from modelyard.records.variants import MODEL_FILE
from modelyard.tasks.base import Head
from modelyard.tasks.model import Array, Model
from modelyard.worker.memory import release_freed_memory
from modelyard.worker.runtimes.failures import loading_errors
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.onnx import load_one_pass, read_variant
from modelyard.worker.runtimes.onnx_session import translated
from modelyard.worker.runtimes.threads import get_threads

EXACTLY = {
    "INFERENCE_PRECISION_HINT": "f32",  # else in 16 bits, where the processor has them
    "EXECUTION_MODE_HINT": "ACCURACY",
    "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
    "PERFORMANCE_HINT": "LATENCY",
    "NUM_STREAMS": 1,
    "ENABLE_CPU_PINNING": False,  # replicas would all be bound to the first cores
    "CACHE_DIR": "",
    "CPU_RUNTIME_CACHE_CAPACITY": 64,
}
"""Source: OpenVINO's properties of the CPU plugin. The last bounds what is kept for shapes to come, which took 134 MB
of a classifier of 13 MB after 300 lengths of texts, and 34 MB so."""
TRIM_EVERY = 32
"""Shapes after which what was made for earlier ones is given back to the machine."""
DONT_NEED = 4
"""Source: madvise(2)."""

LIBRARIES = ("libopenvino_onnx_frontend", "libopenvino_intel_cpu_plugin")
"""What the library loads when it reads its first graph."""


def map_libraries() -> None:
    """Has forks of this process share the pages of what is loaded late, which each would be charged for in full. Starts
    no thread."""
    for name in LIBRARIES:
        for file in Path(openvino.__file__).with_name("libs").glob(f"{name}.so*"):
            ctypes.CDLL(str(file))


def load_model(
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
) -> Model:
    """The variant in the folder `path`, on the CPU. `remote_code`: such folders hold none.

    Raises: ModelRefused when the files cannot be served, BootFailed when loading failed.
    """
    manifest = read_variant(path, heads, device, "OpenVINO variants")
    with loading_errors(path, "cpu"), quiet_library():
        return load_one_pass(path, manifest, Session(path / MODEL_FILE))


class Session:
    """See `graph.Graph`. When the worker's number of threads has changed, the next run compiles the graph anew."""

    def __init__(self, file: Path) -> None:
        """Raises RuntimeError for files that the library cannot read, MemoryError when they do not fit."""
        self._file = file
        self._core = openvino.Core()
        self._shapes: list[tuple[int, ...]] = []
        self._changes = 0
        self._open()

    def run(self, inputs: Mapping[str, Array]) -> Sequence[Array]:
        """See `graph.Graph`."""
        if self._threads != get_threads():
            del self._request  # first, so that the weights are never held twice
            self._open()
        shapes = [array.shape for array in inputs.values()]
        if shapes != self._shapes:
            self._shapes = shapes
            self._changes += 1
            if self._changes % TRIM_EVERY == 0:
                release_freed_memory()
        try:
            found = self._request.infer(dict(inputs), share_inputs=True)
        except Exception as error:  # the library's own kinds share no other base
            raise translated(error) from error
        return [found[place] for place in range(len(self.outputs))]

    def _open(self) -> None:
        self._threads = get_threads()
        try:
            graph = self._core.read_model(self._file)
            compiled = self._core.compile_model(graph, "CPU", {**EXACTLY, "INFERENCE_NUM_THREADS": self._threads})
            self._request = compiled.create_infer_request()
        except Exception as error:  # as above
            raise translated(error) from error
        self.inputs: tuple[str, ...] = tuple(node.any_name for node in graph.inputs)
        self.types: Mapping[str, Any] = {node.any_name: node.element_type.to_dtype() for node in graph.inputs}
        self.shapes: Mapping[str, Sequence[int | str | None]] = {
            node.any_name: [each.get_length() if each.is_static else None for each in node.partial_shape]
            for node in graph.inputs
        }
        self.outputs: tuple[str, ...] = tuple(node.any_name for node in graph.outputs)
        release_freed_memory()
        drop_pages(self._file.parent)


def drop_pages(folder: Path) -> None:
    """Has the process hold no pages of the files in the folder: the weights stay mapped, of which it computes with
    copies. What is read all the same comes back. Linux only."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        place, *_, path = line.split(maxsplit=5)
        if path.startswith(f"{folder.resolve()}/"):
            start, end = (int(part, 16) for part in place.split("-"))
            ctypes.CDLL(None).madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), DONT_NEED)
