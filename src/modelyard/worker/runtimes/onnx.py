"""Variants in ONNX format, held by ONNX Runtime. Owns what is the same for all of them: loading, one pass.

Imports no torch: a worker that holds such a model alone is several times smaller without. Models that generate are in
`onnx_generation`, which does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig

from modelyard.errors import BootFailed, InferenceFailed, ModelRefused
from modelyard.records.variants import MODEL_FILE, Manifest, read_manifest
from modelyard.tasks.base import Head
from modelyard.tasks.model import Array, GeneratedTokens, Model, OnTokens
from modelyard.worker.runtimes.failures import batch_errors, loading_errors
from modelyard.worker.runtimes.graph import Graph
from modelyard.worker.runtimes.library_logs import quiet_library
from modelyard.worker.runtimes.onnx_session import Session
from modelyard.worker.runtimes.processors import ensure_tokenizer_pads, load_parts

RUN_TOKENS = 512
"""Of texts in one run: more together are no faster for each token on a CPU (decision 51), and the scores of attention,
which this library holds whole, take memory for each row."""


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
    manifest = read_variant(path, heads, device, "ONNX variants")
    with loading_errors(path, "cpu"), quiet_library():
        if manifest.cache is not None:
            from modelyard.worker.runtimes.onnx_generation import load_generator

            return load_generator(path, manifest.cache)
        return load_one_pass(path, manifest, Session(path / MODEL_FILE))


def check_on_cpu(device: str, kind: str) -> None:
    """Raises BootFailed when a model is to run on another device than the CPU. `kind`: such models, for people."""
    if device.startswith("cuda"):
        raise BootFailed(f"Device {device} was asked for, but {kind} run on the CPU only. Use auto or cpu.")


def read_variant(path: Path, heads: tuple[Head, ...], device: str, kind: str) -> Manifest:
    """What the variant in the folder is. Raises ModelRefused when it is for none of `heads`, and as `check_on_cpu`."""
    check_on_cpu(device, kind)
    manifest = read_manifest(path)
    if manifest.head not in heads:
        raise ModelRefused(f"{path.name} was exported for {manifest.head}; the task needs one of: {', '.join(heads)}.")
    return manifest


def load_one_pass(path: Path, manifest: Manifest, session: Graph) -> OnnxModel:
    """A model that answers in one pass, whose graph is open. Raises what the libraries raise."""
    config = AutoConfig.from_pretrained(path, local_files_only=True)
    tokenizer, processor = load_parts(path, manifest.head, config, remote_code=False)
    if tokenizer is not None:
        ensure_tokenizer_pads(tokenizer)
    return OnnxModel(path, manifest.max_length, config, session, tokenizer, processor)


class OnnxModel:
    """One exported model without a cache; see `tasks.model.Model`."""

    def __init__(
        self, path: Path, max_length: int | None, config: Any, session: Graph, tokenizer: Any, processor: Any
    ) -> None:
        self.path = path
        self.tokenizer = tokenizer
        self.processor = processor
        self.config: Mapping[str, Any] = config.to_dict()
        self.labels: Mapping[int, str] = {int(index): label for index, label in (config.id2label or {}).items()}
        self.max_length = max_length
        self._session = session

    def forward(self, inputs: Mapping[str, Array], *, method: str = "forward", **settings: Any) -> Mapping[str, Any]:
        """See `tasks.model.Model.forward`. Exported is the plain pass alone: no other `method`, no `settings`."""
        if method != "forward" or settings:
            raise InferenceFailed(f"This variant has no {method} with {settings or 'no settings'}: use the original.")
        given = {
            name: prepare(inputs[name] if name in inputs else self.assume(name, inputs), self._session.types[name])
            for name in self._session.inputs
        }
        with batch_errors(given):
            runs = [self._session.run(part) for part in split_rows(given)]
        outputs = runs[0] if len(runs) == 1 else [np.concatenate(parts) for parts in zip(*runs, strict=True)]
        return dict(zip(self._session.outputs, outputs, strict=True))

    def assume(self, name: str, inputs: Mapping[str, Array]) -> Array:
        """What stands for an input that the task does not give. Raises InferenceFailed."""
        return assume(name, inputs)

    def postprocess(self, method: str, outputs: Any, *more: Any, **options: Any) -> Any:
        """See `tasks.model.Model.postprocess`. The tasks that variants are made for need none."""
        raise InferenceFailed(f"This variant's processor has no {method}: use the original.")

    def can_postprocess(self, method: str) -> bool:
        """See `tasks.model.Model.can_postprocess`."""
        return False

    def generate(
        self, inputs: Mapping[str, Array], options: Mapping[str, Any], on_tokens: OnTokens
    ) -> Sequence[Sequence[GeneratedTokens]]:
        """See `tasks.model.Model.generate`."""
        raise InferenceFailed("This model answers in one pass; it does not generate.")


def split_rows(inputs: Mapping[str, Array]) -> Sequence[Mapping[str, Array]]:
    """The rows of a batch of texts in as many runs as keep each within RUN_TOKENS, one row at least; a batch of what is
    not texts alone as it is. `inputs` of texts: each (rows, tokens)."""
    ids = inputs.get("input_ids")
    if ids is None or ids.size <= RUN_TOKENS or any(array.shape != ids.shape for array in inputs.values()):
        return [inputs]
    rows = max(1, RUN_TOKENS // ids.shape[1])
    starts = range(0, ids.shape[0], rows)
    return [{name: array[start : start + rows] for name, array in inputs.items()} for start in starts]


def prepare(array: Array, kind: Any) -> Array:
    """The array in the type `kind` that the graph takes; where that is not known, 64-bit ids or 32-bit floats."""
    plain = np.float32 if np.issubdtype(array.dtype, np.floating) else np.int64
    return np.ascontiguousarray(array, kind or plain)


def assume(name: str, inputs: Mapping[str, Array]) -> Array:
    """What the original assumes for an input that was not given: no padding, one segment. Raises InferenceFailed."""
    ids = inputs.get("input_ids")
    if ids is None or name not in ("attention_mask", "token_type_ids"):
        raise InferenceFailed(f"The model needs {name}, which this task does not give.")
    return np.full(ids.shape, int(name == "attention_mask"), np.int64)
