"""Has the model library do without torch's compiler, and without tensors spread over machines, which nothing here uses
and which take six tenths of a second of every start. Imported for its side effect, before the library.

In the compiler's place stands what takes the marks that libraries put on functions and tensors for it, which mean
nothing until something is compiled. Whatever else is asked of it is asked of the compiler, which is imported then.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.distributed
from transformers.utils.import_utils import is_torch_distributed_available

COMPILER = "torch._dynamo"
FOR_MASKS = f"{COMPILER}._trace_wrapped_higher_order_op"
"""The part of the compiler that the library's masks are made with. It needs none of the others."""
MARKS = ("allow_in_graph", "assume_constant_result", "disable", "mark_static_address")


class Compiled:
    """The class of compiled models, of which there are none yet: libraries ask whether a model is one."""


class Uncompiled(ModuleType):
    """Stands where the compiler would be, until that is imported."""

    def __init__(self, spec: ModuleSpec) -> None:
        """`spec`: where the compiler is found."""
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__file__ = spec.origin
        self.__path__ = list(spec.submodule_search_locations or ())
        self.eval_frame = SimpleNamespace(OptimizedModule=Compiled)
        for name in MARKS:
            setattr(self, name, unmarked)

    def __getattr__(self, name: str) -> Any:
        """What the compiler has by this name."""
        return getattr(import_compiler(), name)


class Parts(MetaPathFinder, Loader):
    """Imports the compiler before any part of it, as Python does: what stands in its place is no reason not to."""

    def __init__(self) -> None:
        self._spec: ModuleSpec | None = None

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Of a part that the compiler has imported itself, to be given that; None: it is to be found as usual."""
        if not name.startswith(f"{COMPILER}."):
            return None
        import_compiler()
        return ModuleSpec(name, self) if name in sys.modules else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See Loader."""
        self._spec = sys.modules[spec.name].__spec__
        return sys.modules[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """See Loader: it has been."""
        module.__spec__ = self._spec


def unmarked(marked: Any = None, *_: Any, **__: Any) -> Any:
    """What it is given, as it is; given nothing, what does so with the next: marks are used as decorators both ways."""
    return unmarked if marked is None else marked


def import_compiler() -> ModuleType:
    """The compiler, in its place."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Parts)]
    if isinstance(sys.modules.get(COMPILER), Uncompiled):
        del sys.modules[COMPILER]
    return importlib.import_module(COMPILER)


def put_off_compiler() -> None:
    """Puts what stands for the compiler in its place."""
    spec = find_spec(COMPILER)
    assert spec is not None  # noqa: S101 - torch has it
    sys.modules[COMPILER] = torch._dynamo = Uncompiled(spec)
    importlib.import_module(FOR_MASKS)
    sys.meta_path.insert(0, Parts())


def leave_out_distribution() -> None:
    """Has the library find, once and for all, that torch cannot spread tensors, as some builds of it cannot."""
    is_available = torch.distributed.is_available
    torch.distributed.is_available = lambda: False
    try:
        is_torch_distributed_available.cache_clear()
        is_torch_distributed_available()
    finally:
        torch.distributed.is_available = is_available


if COMPILER not in sys.modules:
    put_off_compiler()
    leave_out_distribution()
