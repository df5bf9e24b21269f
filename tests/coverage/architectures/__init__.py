"""Every architecture of the installed transformers under every head that a task of ours serves: the library's own
tables say which there are, so that a new version's are measured without a line here."""

from __future__ import annotations

import importlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.coverage.cases import ANSWERED, Case, Finding, Status
from tests.coverage.children import describe

LIBRARY = "transformers"
TITLE = "Architectures"
PRELOADED = (
    "modelyard.worker.runtimes.preload", "transformers.pipelines", "transformers.models.auto.processing_auto",
    "tests.coverage.architectures.asking", "tests.coverage.architectures.building",
    "tests.coverage.architectures.references",
)  # fmt: skip
"""The first of them is what replicas are forked from."""

_HEADED = re.compile("For[A-Z]")
"""In the name of a class that makes more than features, where the library has no plainer one of its family."""
GENERAL = ("multimodal-lm", "causal-lm", "seq2seq-lm", "base")
"""Heads under which the library lists classes that have a more particular one as well."""


def preload() -> None:
    """Imports what nearly every case needs, with one thread for each process: a case forked from here takes a fifth of
    a second, nine tenths of which importing would take again. The library reads images as workers have it do."""
    for name in PRELOADED:
        importlib.import_module(name)
    import transformers

    from modelyard.worker.runtimes.processors import prefer_pillow

    prefer_pillow()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


def list_cases() -> Sequence[Case]:
    """One for each (architecture, class), under the most particular of its heads."""
    from modelyard.worker.runtimes.heads import HEADS

    heads: dict[tuple[str, str], list[str]] = {}
    for head, table in sorted(HEADS.items(), key=lambda entry: GENERAL.index(entry[0]) if entry[0] in GENERAL else -1):
        for family, classes in table._model_mapping.items():
            for name in [classes] if isinstance(classes, str) else classes:
                heads.setdefault((family, name), []).append(head)
    part = __name__.rpartition(".")[2]
    cases = [Case(part, family, name, choose_head(name, family, listed)) for (family, name), listed in heads.items()]
    return sorted(cases, key=lambda case: (case.family, case.head == "base", case.name))


def choose_head(name: str, family: str, listed: Sequence[str]) -> str:
    """Of the heads under which the library lists a class, the one of the task that its name alone tells; else the most
    particular."""
    from modelyard.catalog.architectures import detect_task
    from modelyard.tasks.registry import find_task

    config = {"architectures": [name], "model_type": family}
    task = find_task(detect_task(tag=None, tags=(), config=config, chat_template=False) or "")
    return next((head for head in (task.heads if task else ()) if head in listed), listed[0])


def check(case: Case, folder: Path) -> Finding:
    """Builds it, asks the library, asks ours, compares: of the smallest model that the library answers with."""
    from tests.coverage.architectures.configs import LEVELS
    from tests.coverage.architectures.references import is_asked

    if not is_asked(case.head) or (case.head == "base" and _HEADED.search(case.name)):
        return Finding(Status.NO_TASK, detail="what it makes is not compared")
    findings, errors = list[Finding](), list[Exception]()
    for level in LEVELS:
        place = folder / level
        place.mkdir()
        try:
            findings.append(check_at(level, case, place))
        except Exception as error:  # the library raises anything for numbers that do not fit together
            errors.append(error)
            continue
        if findings[-1].status in ANSWERED:
            return findings[-1]
    if not findings:
        raise errors[0]
    return findings[0]


def build_answered(case: Case, folder: Path) -> tuple[str, Any]:
    """Writes the smallest model of `case` that the library answers with into the new `folder`. The task that it is
    asked, and the library's answer. Raises what the library raises for the last of them."""
    from tests.coverage.architectures import building, references
    from tests.coverage.architectures.configs import LEVELS

    for level in LEVELS:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            model = building.build(case, folder, level)
            task = references.find_task(case.head, model, folder) or ""
            return task, references.answer(task, sys.modules[model.__module__].__dict__[case.name], folder)
        except Exception:
            if level == LEVELS[-1]:
                raise
    raise AssertionError("there are levels")


def check_at(level: str, case: Case, folder: Path) -> Finding:
    """The same of a model made as small as `level` says. Raises what keeps it from being built."""
    from tests.coverage.architectures import asking, building, comparison, references

    model = building.build(case, folder, level)
    kind = sys.modules[model.__module__].__dict__[case.name]
    task = references.find_task(case.head, model, folder)
    if task is None:
        return Finding(Status.NO_TASK, detail=f"reads {', '.join(references.inputs_of(model))}")
    try:
        expected = references.answer(task, kind, folder)
        if difference := comparison.find_difference(references.answer(task, kind, folder), expected):
            return Finding(
                Status.NO_REFERENCE, task, f"the library's own answer differs from time to time: {difference}"
            )
    except Exception as error:
        if wants := references.wants_besides(task, model):
            return Finding(Status.NO_TASK, detail=f"reads {wants} as well: {describe(error)}")
        return Finding(Status.LIBRARY_FAILS, task, describe(error))
    try:
        found, ours = asking.ask(case.head, task, folder)
    except Exception as error:
        return Finding(Status.REFUSED, task, describe(error))
    difference = comparison.find_difference(ours, expected)
    return Finding(Status.DIFFERENT, found, difference) if difference else Finding(Status.EQUAL, found)
