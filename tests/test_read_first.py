"""What each process that shares the tests reads before the first of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.selection import FOLDERS_WITH_MODELS, TESTS

SLOW = {"anthropic", "cohere", "diffusers", "openai", "schemathesis", "torch", "transformers"}
"""Libraries that take from half a second to two of CPU time to import."""


def imported_by(path: Path) -> Iterator[str]:
    """What a file imports as it is read, and of each name that it takes from a module also that name's."""
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Import):
            yield from (each.name for each in statement.names)
        elif isinstance(statement, ast.ImportFrom) and statement.module:
            yield statement.module
            yield from (f"{statement.module}.{each.name}" for each in statement.names)


def file_of(name: str) -> Path | None:
    """The file of one of our modules of tests."""
    path = TESTS.parent.joinpath(*name.split("."))
    places = (path.with_suffix(".py"), path / "__init__.py")
    return next((each for each in places if each.is_file()), None) if name.startswith("tests.") else None


def slow_imports(path: Path, seen: set[Path]) -> Iterator[str]:
    """The slow libraries among what a file imports, by itself or by others of ours that none in `seen` has imported."""
    seen.add(path)
    for name in imported_by(path):
        if name.split(".")[0] in SLOW:
            yield f"{path.relative_to(TESTS)} imports {name}"
        elif (file := file_of(name)) and file not in seen:
            yield from slow_imports(file, seen)


def test_files_with_quick_tests_import_no_slow_library() -> None:
    seen: set[Path] = set()
    places = [place for place in TESTS.iterdir() if place.name not in {*FOLDERS_WITH_MODELS, "builders"}]
    files = sorted(file for place in places for file in (place.rglob("*.py") if place.is_dir() else [place]))
    slow = [line for path in files for line in slow_imports(path, seen)]
    assert slow == [], "a test imports what it uses itself, or by tests/later.py"
    assert len(seen) > len(files) > 100
