"""Every attack, by registration: what is here is run by `test_memory_returns`, all of it against one server."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tests.attacks
from tests.serving import Server

Run = Callable[[Server], object]
"""Does to a server what one of its enemies might; returns when it is over. Takes seconds, and leaves no cluster."""

LEFT_OUT = "NOT_REPEATED"
"""A module that registers no attack says with this name why."""
UNSAFE = "UNSAFE"
"""A module whose models' own code is to run on the server that they share names them so."""


@dataclass(frozen=True)
class Attack:
    """An attack and the server it needs, which serves the zoo besides.

    `models` writes models into the folder that is served; `unsafe` are those of them whose own code is to run;
    `settings` are of its environment.
    """

    run: Run
    models: Callable[[Path], object] | None
    unsafe: str
    settings: Mapping[str, str]


_attacks: dict[str, Attack] = {}


def attack(function: Run) -> Run:
    """Registers an attack on any server."""
    return attack_on()(function)


def attack_on(
    models: Callable[[Path], object] | None = None, unsafe: str = "", **settings: str
) -> Callable[[Run], Run]:
    """Registers an attack on a server of its own kind: see Attack."""

    def register(function: Run) -> Run:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        _attacks[name] = Attack(function, models, unsafe, settings)
        return function

    return register


def modules() -> Iterator[ModuleType]:
    """Every module of tests beside this one."""
    for module in pkgutil.iter_modules(tests.attacks.__path__):
        if module.name.startswith("test_"):
            yield importlib.import_module(f"{tests.attacks.__name__}.{module.name}")


def unsafe_models() -> list[str]:
    """Those of all modules."""
    return [model_id for module in modules() for model_id in getattr(module, UNSAFE, ())]


def all_attacks() -> Mapping[str, Attack]:
    """By module and name."""
    for _ in modules():
        pass
    return dict(sorted(_attacks.items()))


def settings_of(attacks: Mapping[str, Attack]) -> dict[str, str]:
    """The environment of a server for all of them. Fails when two want one setting otherwise."""
    wanted: dict[str, str] = {
        "MODELYARD_ALLOW_UNSAFE": ",".join(each.unsafe for each in attacks.values() if each.unsafe)
    }
    for name, each in attacks.items():
        for setting, value in each.settings.items():
            assert wanted.setdefault(setting, value) == value, f"{name} wants another {setting} than others"
    return wanted
