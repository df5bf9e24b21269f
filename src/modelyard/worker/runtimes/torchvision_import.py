"""Has torchvision imported with operators that run on this build of torch and without torch's compiler, whoever imports
it first. Owns the moment, not the operators; imports no torch itself."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

PACKAGE = "torchvision"


class WithOperators(Loader):
    """Loads torchvision as its own loader does, with what it needs around it."""

    def __init__(self, own: Loader) -> None:
        self._own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """See Loader."""
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """See Loader. Raises what torchvision raises."""
        operators = importlib.import_module("modelyard.worker.runtimes.torchvision_operators")
        defined = operators.define_operators(Path(str(module.__file__)).parent)
        with operators.compiling_nothing():
            self._own.exec_module(module)
        if defined:
            operators.use_operators()


class Torchvision(MetaPathFinder):
    """Finds it where Python does."""

    def find_spec(self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """See MetaPathFinder."""
        spec = PathFinder.find_spec(name, path) if name == PACKAGE else None
        if spec is not None and spec.loader is not None:
            spec.loader = WithOperators(spec.loader)
        return spec


def attend_to_torchvision() -> None:
    """From now on."""
    sys.meta_path.insert(0, Torchvision())
