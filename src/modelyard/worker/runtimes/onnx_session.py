"""One ONNX graph, ready to run: its session, and the threads it may use. Speaks numpy; knows no model.

Not thread-safe: one thread at a time may run it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from modelyard.tasks.model import Array
from modelyard.worker.limits import says_out_of_memory
from modelyard.worker.memory import release_freed_memory
from modelyard.worker.runtimes.failures import first_line
from modelyard.worker.runtimes.threads import get_threads

TYPES = {
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
}
"""The library's name of what an input takes → numpy's."""
FATAL_ONLY = 4
SPIN_US = "50"
EXACTLY, FIRST_BYTES = 1, 64 * 1024
"""How an arena grows, and its first piece. Source: ONNX Runtime's ArenaExtendStrategy, kSameAsRequested."""


class Session:
    """A graph and its weights in memory. `inputs`, `outputs`: their names, in its order; `types` and `shapes`: of its
    inputs, a number for what is fixed.

    ONNX Runtime fixes its threads when a session is made. When the worker's number has changed since, the next run
    makes the session anew first: tens of milliseconds, as the weights are mapped and their pages still there.
    """

    def __init__(self, file: Path, *, gives_back: bool = True) -> None:
        """`gives_back`: returns its working memory after every run, which for a batch of 8 × 128 tokens is as much as
        the rest of a small worker. Costs nothing that could be measured, except where runs are very short.

        Raises RuntimeError for files that the library cannot read, MemoryError when they do not fit."""
        self._file = file
        self._gives_back = gives_back
        self._run_options = onnxruntime.RunOptions()
        if gives_back:
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._open()
        self.inputs: tuple[str, ...] = tuple(node.name for node in self._session.get_inputs())
        self.types: Mapping[str, Any] = {node.name: TYPES.get(node.type) for node in self._session.get_inputs()}
        self.shapes: Mapping[str, Sequence[int | str | None]] = {
            node.name: node.shape for node in self._session.get_inputs()
        }
        self.outputs: tuple[str, ...] = tuple(node.name for node in self._session.get_outputs())

    def run(self, inputs: Mapping[str, Array], wanted: Sequence[str] | None = None) -> Sequence[Array]:
        """The outputs that are `wanted`, in that order; None: all of them, in the order of `outputs`. `inputs`: exactly
        the graph's own.

        Raises RuntimeError when the graph cannot take them, MemoryError.
        """
        if self._threads != get_threads():
            del self._session  # first, so that the weights are never held twice
            self._open()
        try:
            outputs: Sequence[Array] = self._session.run(wanted, dict(inputs), self._run_options)
        except Exception as error:  # the library's own kinds share no other base
            raise translated(error) from error
        return outputs

    def _open(self) -> None:
        self._threads = get_threads()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = FATAL_ONLY  # what goes wrong is raised as well
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        if self._gives_back:
            register_exact_allocator()
            options.add_session_config_entry("session.use_env_allocators", "1")
            # A plan of a run's memory, made for each shape, holds all of it as one piece that fits no other shape.
            options.enable_mem_pattern = False
        # Between two operations the threads wait some microseconds. Sleeping there makes a second thread worth nothing;
        # spinning without end was four times slower on a machine with other work. So they spin, but not for long.
        options.add_session_config_entry("session.intra_op.allow_spinning", "1")
        options.add_session_config_entry("session.intra_op.spin_duration_us", SPIN_US)
        try:
            self._session = onnxruntime.InferenceSession(self._file, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # as above
            raise translated(error) from error
        release_freed_memory()


@cache
def register_exact_allocator() -> None:
    """Has sessions of this process that ask for it take as much memory as they need, where they would take twice as
    much each time. One text of 512 tokens took 55 MB of a small classifier so, and 38 now; no slower."""
    kind = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    memory = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, onnxruntime.OrtMemType.DEFAULT)
    settings = onnxruntime.OrtArenaCfg({"arena_extend_strategy": EXACTLY, "initial_chunk_size_bytes": FIRST_BYTES})
    onnxruntime.create_and_register_allocator(memory, settings)


def translated(error: Exception) -> MemoryError | RuntimeError:
    """What the library raised, as one of Python's own kinds."""
    line = first_line(error)
    return MemoryError(line) if says_out_of_memory(error) else RuntimeError(line)
