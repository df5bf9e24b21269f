"""Every attack, by registration: what is here is run twice by `test_memory_returns`, against one server."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping

import tests.attacks
from tests.serving import Server

Attack = Callable[[Server], object]
"""Does to a server that serves the zoo what one of its enemies might; returns when it is over. Takes seconds."""

_attacks: dict[str, Attack] = {}


def attack(function: Attack) -> Attack:
    """Registers an attack."""
    _attacks[f"{function.__module__.rpartition('.')[2]}.{function.__name__}"] = function
    return function


def all_attacks() -> Mapping[str, Attack]:
    """By module and name, of every module beside this one."""
    for module in pkgutil.iter_modules(tests.attacks.__path__):
        if module.name.startswith("test_"):
            importlib.import_module(f"{tests.attacks.__name__}.{module.name}")
    return dict(sorted(_attacks.items()))
