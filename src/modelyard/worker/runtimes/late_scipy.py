"""Lets a library be imported before the parts of SciPy that some of its functions need: half of what importing
diffusers takes. They are imported when one of those functions asks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

PARTS = ("scipy.integrate", "scipy.stats")
"""What modules of diffusers import as they are imported: noise schedules of the beta distribution, and the linear
multistep scheduler, compute with them."""


class Later(ModuleType):
    """Stands where a part of SciPy would be, for a module that only keeps it to ask it later."""

    def __getattr__(self, name: str) -> Any:
        """What the part has by this name, apart from what every module is asked for by those who look through all."""
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


@contextmanager
def scipy_later() -> Iterator[None]:
    """Imports in the block get no part of SciPy, only what imports it when it is asked for something. Whoever imports a
    part after the block gets it at once."""
    stands = {name: Later(name) for name in PARTS if name not in sys.modules}
    sys.modules.update(stands)
    try:
        yield
    finally:
        for name, stand in stands.items():
            if sys.modules.get(name) is stand:
                del sys.modules[name]
