"""Which runtimes there are, and how one is asked for a model. Imports a runtime's framework only when it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from modelyard.errors import BootFailed, ModelRefused
from modelyard.records.replicas import ReplicaSpec
from modelyard.tasks.base import Head
from modelyard.tasks.maker import Loaded
from modelyard.tasks.shared.sentence_folder import heads_of
from modelyard.worker.runtimes.device import Spread
from modelyard.worker.runtimes.no_model import NoModel
from modelyard.worker.runtimes.own_code import copy_code_to_own_folder

RUNTIMES = {
    "transformers": "modelyard.worker.runtimes.transformers",
    "diffusers": "modelyard.worker.runtimes.diffusers",
    "onnx": "modelyard.worker.runtimes.onnx",
    "openvino": "modelyard.worker.runtimes.openvino",
    "gguf": "modelyard.worker.runtimes.gguf",
    "static": "modelyard.worker.runtimes.static",
}
"""Runtime name → the module whose `load_model` loads for it."""

ADAPTERS = "modelyard.worker.runtimes.adapters"
"""The module that loads an adapter and its base."""

PIPELINE_PARTS = "modelyard.worker.runtimes.pipeline_parts"
"""The module that loads a part of a pipeline and its base."""

BESIDE = "modelyard.worker.runtimes.adapted_model"
"""The module that puts an adapter beside the weights of a model that serves already."""

FILES = {
    "onnx": "modelyard.worker.runtimes.onnx_published",
    "gguf": "modelyard.worker.runtimes.gguf",
}
"""Runtime name → the module whose `load_model` loads one file that is a model."""

HEADS: dict[tuple[str, Head], str] = {
    ("transformers", "text-to-waveform"): "modelyard.worker.runtimes.text_to_sound",
    ("transformers", "text-to-spectrogram"): "modelyard.worker.runtimes.text_to_sound",
}
"""(runtime, head) → a module of its own for what the runtime's own module does not load."""

PIPELINES: frozenset[Head] = frozenset({"image-pipeline", "video-pipeline", "audio-pipeline", "depth-pipeline"})
"""The heads that only diffusers offers; it offers no other."""


class Loader(Protocol):
    """What every runtime module offers as `load_model`."""

    def __call__(self, path: Path, heads: tuple[Head, ...], *, device: str, remote_code: bool, **more: Any) -> Loaded:
        """Loads the model in the folder `path` under the first of `heads` that fits it.

        `remote_code`: run the repository's code; the operator has allowed it. `more`: what only this runtime is told.

        Raises: ModelRefused when the files must not or cannot be served; BootFailed when loading went wrong.
        """


def find_loader(runtime: str, heads: tuple[Head, ...] = ()) -> Callable[[], Loader] | None:
    """The function that imports `runtime` and returns its loader for `heads`, or None when there is no such runtime."""
    module = next((HEADS[runtime, head] for head in heads if (runtime, head) in HEADS), RUNTIMES.get(runtime))
    return None if module is None else lambda: import_module(module).load_model


def load_file(spec: ReplicaSpec, heads: tuple[Head, ...]) -> Loaded:
    """The model in one file of its folder, which is told how long its texts are. Raises: BootFailed,
    ModelRefused."""
    module = import_module(FILES[spec.runtime])
    loaded: Loaded = module.load_model(
        Path(spec.path) / (spec.weights or ""),
        heads_of(Path(spec.path), heads),
        context_tokens=spec.context_tokens,
        device=spec.device,
        slots=spec.max_batch,
    )
    return loaded


def load_adapted(spec: ReplicaSpec, heads: tuple[Head, ...]) -> Loaded:
    """The model in the folder `base` with the adapter in `path`. Raises: BootFailed, ModelRefused."""
    module = import_module(PIPELINE_PARTS if spec.runtime == "diffusers" else ADAPTERS)
    if spec.remote_code:
        copy_code_to_own_folder()
    loaded: Loaded = module.load_adapted_model(
        Path(spec.path),
        Path(spec.base or ""),
        heads,
        device=spec.device,
        remote_code=spec.remote_code,
    )
    return loaded


def load_beside(model: Loaded, path: Path) -> Callable[[], Loaded]:
    """Reads the adapter in `path`; what puts it beside the model's weights, for the model's thread. Raises: BootFailed,
    ModelRefused."""
    read: Callable[[Loaded, Path], Callable[[], Loaded]] = import_module(BESIDE).load_beside
    return read(model, path)


def load_model(
    runtime: str,
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
    precision: str | None = None,
    spread: Spread | None = None,
) -> Loaded:
    """The model in the folder `path`, held by `runtime`, under the first of `heads` that fits it.

    `device`: `auto`, `cpu`, `cuda` or `cuda:N`. `precision`: of the weights, where transformers holds them; None: as
    usual. `spread`: it lies on several devices, where transformers holds it; None: on that one. No heads: the task
    needs no model. Raises: BootFailed, ModelRefused.
    """
    if not heads:
        return NoModel(path)
    offered = tuple(head for head in heads_of(path, heads) if (head in PIPELINES) == (runtime == "diffusers"))
    loader = find_loader(runtime, offered)
    if loader is None:
        raise BootFailed(f"No runtime is called {runtime!r}; there are {', '.join(RUNTIMES)}.")
    if not offered:
        raise ModelRefused(f"{path.name} is a model for {runtime}, which offers none of: {', '.join(heads)}.")
    load = loader()
    if remote_code:
        copy_code_to_own_folder()
    told = {"precision": precision, "spread": spread}
    more = {name: value for name, value in told.items() if value is not None}
    return load(path, offered, device=device, remote_code=remote_code, **more)
