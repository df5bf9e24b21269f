"""The optional parts that pip knows the package by."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from modelyard.catalog.optional_parts import PARTS
from tests.packages.environment import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OWN = re.compile(r"modelyard\[([a-z,-]+)\]")
"""How one extra names others."""
SEVERAL = {"all", "gpu"}
FOR_DEVELOPERS = {"dev"}


def requirements(extra: str) -> Iterator[str]:
    """What an extra brings, and what the extras bring that it names."""
    for line in EXTRAS[extra]:
        if named := OWN.fullmatch(line):
            for other in named[1].split(","):
                yield from requirements(other)
        else:
            yield line


def test_all_brings_what_every_other_extra_brings() -> None:
    others = EXTRAS.keys() - FOR_DEVELOPERS
    assert set(requirements("all")) == {line for extra in others for line in requirements(extra)}


def test_what_the_extras_bring_is_at_versions_that_were_tested() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    open_ended = [line.partition(">=")[0] for line in requirements("all") if "==" not in line]
    assert open_ended
    assert [name for name in open_ended if f"\n{name}==" not in pins] == []


def test_the_parts_that_doctor_looks_for_are_those_that_pip_knows() -> None:
    assert {part.extra for part in PARTS} == EXTRAS.keys() - SEVERAL - FOR_DEVELOPERS
