"""How modules of the package import one another."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def module_files() -> dict[str, Path]:
    """Every module's file, by the module's name."""
    files = {}
    for path in (SOURCE / "modelyard").rglob("*.py"):
        *parents, last = path.relative_to(SOURCE).with_suffix("").parts
        files[".".join(parents if last == "__init__" else [*parents, last])] = path
    return files


def imports_at_load(body: list[ast.stmt], modules: Collection[str]) -> Iterator[str]:
    """What is imported when the module is: not inside functions, not for type checkers alone.

    `from package import module` means the module, not the package that it is in.
    """
    for node in body:
        match node:
            case ast.Import(names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module, names, 0) if module is not None:
                inner = (f"{module}.{alias.name}" for alias in names)
                yield from (name if name in modules else module for name in inner)
            case ast.If(test=ast.Name("TYPE_CHECKING"), orelse=others):
                yield from imports_at_load(others, modules)
            case ast.If() | ast.With() | ast.Try() | ast.ClassDef():
                for name in ("body", "orelse", "finalbody"):
                    yield from imports_at_load(getattr(node, name, []), modules)


def find_cycle(imports: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a circle, or none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_modules_import_one_another_in_a_circle() -> None:
    files = module_files()
    assert len(files) > 200
    imports = {
        name: {each for each in imports_at_load(ast.parse(path.read_text()).body, files) if each in files} - {name}
        for name, path in files.items()
    }
    assert imports["modelyard.worker.nursery"] >= {"modelyard.worker.processes", "modelyard.worker.second_nursery"}
    assert find_cycle(imports) == []


def test_a_circle_is_found() -> None:
    assert set(find_cycle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}}) == []
