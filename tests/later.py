"""Imports put off until a test uses them: each process that shares the tests reads all of their files, and only some
of them come to use a client's library, which takes seconds to import."""

from __future__ import annotations

import importlib
from typing import Any


class Later:
    """A library, imported when it is asked for something first."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        """What the library has by this name, apart from what pytest asks everything in a file for."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self._name), name)
