"""Every pipeline class of the installed diffusers that has a recipe of tiny parts: asked here by way of inspection,
runtime and task, and in the library called directly with the same seed."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path

from tests.coverage.cases import Case, Finding, Status
from tests.coverage.children import describe

LIBRARY = "diffusers"
TITLE = "Pipelines"
PRELOADED = (
    "modelyard.worker.runtimes.preload", "modelyard.worker.runtimes.diffusers", "tests.coverage.pipelines.asking",
    "tests.coverage.pipelines.recipes",
)  # fmt: skip


def preload() -> None:
    """Imports what every case needs."""
    for name in PRELOADED:
        importlib.import_module(name)
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def list_cases() -> Sequence[Case]:
    """One for each class that the library offers."""
    import diffusers

    names = [name for name in dir(diffusers) if name.endswith("Pipeline") and "Modular" not in name]
    part = __name__.rpartition(".")[2]
    return [Case(part, family_of(name), name, "pipeline") for name in sorted(names)]


def family_of(name: str) -> str:
    """The first word of a class's name that the library's families differ in."""
    from tests.coverage.pipelines.recipes import find_recipe

    recipe = find_recipe(name)
    return recipe.__name__ if recipe else "other"


def check(case: Case, folder: Path) -> Finding:
    """Builds it, asks the library, asks ours, compares."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library about itself
        return find(case, folder)


def find(case: Case, folder: Path) -> Finding:
    """What `check` finds."""
    from modelyard.catalog.inspection import inspect_folder
    from tests.coverage.pipelines import asking
    from tests.coverage.pipelines.recipes import build, find_recipe

    recipe = find_recipe(case.name)
    if recipe is None:
        return Finding(Status.NOT_BUILT, detail="there is no recipe for its parts")
    try:
        build(case.name, recipe, folder)
    except Exception as error:
        return Finding(Status.NOT_BUILT, detail=describe(error))
    found = inspect_folder(folder)
    if found.task is None:
        return Finding(Status.NO_TASK, detail=found.problem or "")
    try:
        expected = asking.ask_library(case.name, found.task, folder)
    except Exception as error:
        return Finding(Status.LIBRARY_FAILS, found.task, describe(error))
    if asking.is_empty(expected):
        return Finding(Status.LIBRARY_FAILS, found.task, "the library's answer is the same everywhere, or no number")
    try:
        ours = asking.ask_ours(found.task, folder)
    except Exception as error:
        return Finding(Status.REFUSED, found.task, describe(error))
    difference = asking.find_difference(ours, expected)
    return Finding(Status.DIFFERENT if difference else Status.EQUAL, found.task, difference)
