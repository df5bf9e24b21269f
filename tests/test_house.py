"""What holds for the source as a whole: the glossary, docstrings of modules, the length of files."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from modelyard.tasks.registry import TASKS
from tests.builders.fixtures import FAMILY_OF_TASK

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "modelyard"
MODULES = sorted(SOURCE.rglob("*.py"))
MOST_LINES = 450
"""Of a module. Longer ones did not stay readable at a sitting."""
MOST_DOCSTRING_LINES = 6
"""Of a module's docstring: what it owns and must not do."""
LONGER_DOCSTRINGS = {
    "catalog/hub_cache.py",
    "errors.py",
    "tasks/shared/sizes.py",
    "worker/nursery.py",
    "worker/variants.py",
}
"""Modules whose docstring also draws a tree, a folder or a protocol."""


def module_name(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def glossary_words() -> list[str]:
    lines = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split("|")[0].strip() for line in lines if line.startswith("| ")]
    return rows[1:]


def test_the_glossary_has_each_word_once_and_in_order() -> None:
    words = glossary_words()
    assert [word for word, count in Counter(words).items() if count > 1] == []
    assert words == sorted(words)


@pytest.mark.parametrize(
    "word",
    ["administration", "cluster", "destination", "device", "inference", "need", "node", "outcome", "place", "plane",
     "replica", "surface", "task", "usage", "variant"],
)  # fmt: skip
def test_core_nouns_are_in_the_glossary(word: str) -> None:
    assert word in glossary_words()


def test_every_module_says_what_it_owns() -> None:
    texts = {module_name(path): ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in MODULES}
    assert [name for name, text in texts.items() if not text] == []
    long = {name for name, text in texts.items() if text and len(text.splitlines()) > MOST_DOCSTRING_LINES}
    assert long <= LONGER_DOCSTRINGS


FOLDERS = sorted({path.parent for path in MODULES if path.name != "__init__.py"} - {SOURCE})


@pytest.mark.parametrize("folder", FOLDERS, ids=module_name)
def test_a_folder_of_the_source_has_a_folder_of_tests(folder: Path) -> None:
    if folder.parent.name == "migrations":
        folder = folder.parent  # its steps are tested as a whole, in the folder above
    assert any((ROOT / "tests" / folder.relative_to(SOURCE)).glob("**/test_*.py"))


@pytest.mark.parametrize("root", ["src", "tests", "benchmarks"])
def test_no_module_has_the_name_of_a_folder_beside_it(root: str) -> None:
    """Which of the two an import finds would depend on what was imported before."""
    modules = list((ROOT / root).rglob("[!.]*.py"))
    assert modules
    assert [path for path in modules if any(path.with_suffix("").glob("*.py")) and ".packages" not in path.parts] == []


def test_modules_are_short() -> None:
    lengths = {module_name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES} == {}


def test_files_that_the_architecture_names_are_there() -> None:
    """The walks name rooms; one that has moved must be told where it went."""
    text = (ROOT / "docs" / "architecture" / "README.md").read_text(encoding="utf-8")
    walks = text[text.index("## A streamed inference") : text.index("## Variants")]
    named = set(re.findall(r"`([a-z_0-9/]+\.py)`", walks))
    assert len(named) > 20
    assert [name for name in sorted(named) if not (SOURCE / name).is_file() and not find_ending(name)] == []


def test_files_that_changes_touch_are_there_and_few() -> None:
    """A row that names a module which has moved, or too many of them, is out of date."""
    text = (ROOT / "docs" / "architecture" / "changes.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 12
    for change, _, touched, count in rows:
        named = re.findall(r"`([a-z_0-9/]+\.py)`", touched)
        assert [name for name in named if not (SOURCE / name).is_file()] == [], change
        assert int(count) <= 6, change


def find_ending(name: str) -> bool:
    """Whether one module's path ends so: a walk that has named a folder need not name it again."""
    return sum(module_name(path).endswith(f"/{name}") for path in MODULES) == 1


def test_every_task_has_a_tiny_model() -> None:
    """Contract, fuzz and load run each task with the model that is named here: a new task needs a line."""
    assert FAMILY_OF_TASK.keys() == {task.id for task in TASKS}


def test_settings_that_the_security_page_names_are_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    known = "".join(
        (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") for name in ("settings.md", "cli.md")
    )
    named = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--system"}
    assert len(named) > 15
    assert {name for name in named if f"`{name}`" not in known} == set()


def test_each_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name.split("-")[0] for path in (ROOT / "docs" / "decisions").glob("0*.md")]

    assert sorted(numbers) == sorted(set(numbers))
