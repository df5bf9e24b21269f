"""Which tests belong to `make quick`, and which of them must share a process when several run them.

Load as a pytest plugin. Marks and groups only: the expressions that select by these marks are in the Makefile.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

TESTS = Path(__file__).parent

FOLDERS_WITH_MODELS = {
    "attacks",
    "chaos",
    "clients",
    "coverage",
    "e2e",
    "engine",
    "examples",
    "fuzz",
    "tasks",
    "worker",
}
"""Folders whose tests load models, here or in processes of their own. `make quick` does not even import them."""
SLOW_FIXTURES = {
    "admin_server",
    "attacked_server",
    "browser",
    "console_server",
    "load",
    "model_folder",
    "postgresql",
    "postgresql_server",
    "quiet_server",
    "real_models",
    "server",
    "shared_server",
    "task_zoo",
    "terminal",
    "zoo",
}
"""What a quick test must not use in any folder: models, processes that serve them, a database server."""
SLOW_MARKS = ("verify", "gpu", "imports_models")
SHARED_BY_FOLDER = {
    "clients": "server",
    "cli": "server",
    "console": "console_server",
    "engine": "engine",
    "fuzz": "admin_server",
    "gateway/surfaces/admin": "admin_server",
    "gateway/surfaces/anthropic": "server",
    "gateway/surfaces/openai": "server",
    "store": "postgresql_server",
}
"""Folders whose tests share what there can be only one of, or what takes long to start, and what that is: a server of
the zoo, which many ask by a client that names it in their place, the engines, a database server; and what draws calls,
whose import takes two seconds."""
SHARED = ("attacked_server", "shared_server", "quantised_forms", "postgresql_server", "preloaded")
"""Fixtures that the files naming them share. Those whose tests take the plain `server` share that one; elsewhere the
tests of one file share theirs."""
EXPORTED = ("variant_folder", "published_folder")
"""Fixtures of graphs, which the first who asks exports: the files naming one share a process, which imports the
exporter, four seconds of CPU time, once."""
TAKES_SERVER = re.compile(r"\ndef test_\w+\([^)]*\bserver: Server")
MAKES_SERVER = "\ndef server("
FIRST = ("server", "shared_server", "exports", "attacked_server", "postgresql_server", "engine", "quantised_forms")
"""Groups, the longest first, so that none of them is left to run alone at the end. Others follow by their folders."""
ORDER = ("clients", "cli", "e2e", "attacks", "worker", "gateway")
"""Folders, in the order that the tests of a group run in: those of cli, which list what a server holds, before those of
e2e, which share it and leave clusters behind."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves folders unread that have no quick test: reading them would import the model libraries."""
    if config.option.markexpr == "quick" and collection_path.parent == TESTS:
        return collection_path.name in FOLDERS_WITH_MODELS or None
    return None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place_of(item.path))
    for item in items:
        if is_quick(item):
            item.add_marker("quick")


@cache
def place_of(path: Path) -> tuple[int, int]:
    """Where in the order of a run the tests of a file begin: its group's place, and its folder's."""
    group, folder = group_of(path), folder_of(path)
    return (
        FIRST.index(group) if group in FIRST else len(FIRST),
        ORDER.index(folder) if folder in ORDER else len(ORDER),
    )


def folder_of(path: Path) -> str:
    """The folder below tests/; of a file beside this one, its own name."""
    return path.relative_to(TESTS).parts[0]


def is_quick(item: pytest.Item) -> bool:
    """Whether it starts no process with a model in it, and no database server."""
    if folder_of(item.path) in FOLDERS_WITH_MODELS or any(item.get_closest_marker(mark) for mark in SLOW_MARKS):
        return False
    used = {*getattr(item, "fixturenames", ()), *parameters_of(item)}
    return used.isdisjoint(SLOW_FIXTURES)


def parameters_of(item: pytest.Item) -> list[str]:
    """The values a test is run for that are words: some of them name a fixture."""
    case = getattr(item, "callspec", None)
    return [] if case is None else [value for value in case.params.values() if isinstance(value, str)]


class GroupScheduling(LoadScopeScheduling):
    """Gives each process whole groups of tests."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(TESTS.parent / nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> GroupScheduling:
    """For runs in several processes."""
    return GroupScheduling(config, log)


@cache
def group_of(path: Path) -> str:
    """Tests of one group run in one process, in order."""
    name = path.relative_to(TESTS).as_posix()
    by_folder = (shared for folder, shared in SHARED_BY_FOLDER.items() if name.startswith(f"{folder}/"))
    return next(by_folder, None) or shared_fixture_of(path) or name


@cache
def shared_fixture_of(path: Path) -> str | None:
    """The fixture that the tests of a file share with those of others."""
    text = path.read_text()
    if named := next((name for name in SHARED if name in text), None):
        return named
    if any(name in text for name in EXPORTED):
        return "exports"
    return "server" if TAKES_SERVER.search(text) and MAKES_SERVER not in text else None
