"""`audit`: what commands have changed, without a server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Inside


@pytest.fixture
def here(inside: Inside, tmp_path: Path) -> list[str]:
    """A database in which commands have changed this and that."""
    here = ["--data-dir", str(tmp_path)]
    inside.ok("accounts", "create", "ada", *here)
    inside.ok("accounts", "set", "ada", "--max-models", "3", *here)
    inside.ok("accounts", "set", "ada", "--max-models", "none", *here)
    inside.ok("accounts", "create", "b\u202e\nob", *here)
    return here


def test_what_was_changed_is_told_in_order(inside: Inside, here: list[str]) -> None:
    lines = [json.loads(line) for line in inside.ok("audit", "--json", *here).splitlines()]
    assert [(line["action"], line["account"], line["before"], line["after"]) for line in lines] == [
        ("account.create", "ada", None, {"name": "ada"}),
        ("account.limit", "ada", {"max_models": None}, {"max_models": 3}),
        ("account.limit", "ada", {"max_models": 3}, {"max_models": None}),
        ("account.create", "b\u202e\nob", None, {"name": "b\u202e\nob"}),
    ]
    assert {(line["way"], line["outcome"]) for line in lines} == {("command", "done")}
    assert all(line["actor"] and line["source"] and line["at"].endswith("Z") for line in lines)


def test_people_are_told_a_line_each_whatever_names_hold(inside: Inside, here: list[str]) -> None:
    told = inside.ok("audit", *here).splitlines()
    assert len(told) == 4
    assert "max_models: 3 → null" in told[2]
    assert "\u202e" not in told[3]


def test_it_is_narrowed(inside: Inside, here: list[str]) -> None:
    def count(*words: str) -> int:
        return len(inside.ok("audit", *words, *here).splitlines())

    assert count("--account", "ada") == 3
    assert count("--action", "account.limit") == 2
    assert count("--action", "account") == 4
    assert count("--actor", "nobody-of-that-name") == count("--denied") == count("--since", "2999-01-01") == 0
    assert count("--limit", "1") == 1
    assert "--since: got 'yesterday'" in inside.problem("audit", "--since", "yesterday", *here)
