"""Which runtimes there are, and how one is asked for a model. Imports a runtime's framework only when it is used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Protocol

from modelyard.errors import BootFailed
from modelyard.tasks.base import Head
from modelyard.tasks.model import Model

RUNTIMES = {
    "transformers": "modelyard.worker.runtimes.transformers",
}
"""Runtime name → the module whose `load_model` loads for it."""


class Loader(Protocol):
    """What every runtime module offers as `load_model`."""

    def __call__(self, path: Path, heads: tuple[Head, ...], *, device: str, remote_code: bool, pickled: bool) -> Model:
        """Loads the model in the folder `path` under the first of `heads` that fits it.

        `remote_code`, `pickled`: run the repository's code, read pickled weights; the operator has allowed it.

        Raises: ModelRefused when the files must not or cannot be served; BootFailed when loading went wrong.
        """


def find_loader(runtime: str) -> Callable[[], Loader] | None:
    """The function that imports `runtime` and returns its loader, or None when there is no such runtime."""
    module = RUNTIMES.get(runtime)
    return None if module is None else lambda: import_module(module).load_model


def load_model(
    runtime: str,
    path: Path,
    heads: tuple[Head, ...],
    *,
    device: str = "auto",
    remote_code: bool = False,
    pickled: bool = False,
) -> Model:
    """The model in the folder `path`, held by `runtime`, under the first of `heads` that fits it.

    `device`: `auto`, `cpu`, `cuda` or `cuda:N`. Raises: BootFailed, ModelRefused.
    """
    loader = find_loader(runtime)
    if loader is None:
        raise BootFailed(f"No runtime is called {runtime!r}; there are {', '.join(RUNTIMES)}.")
    return loader()(path, heads, device=device, remote_code=remote_code, pickled=pickled)
