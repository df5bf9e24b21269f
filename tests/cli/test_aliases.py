"""`aliases`: commands that need no server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Inside

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


def test_an_alias_is_set_changed_listed_and_removed(inside: Inside, tmp_path: Path) -> None:
    here = ["--data-dir", str(tmp_path)]
    assert "no aliases yet" in inside.run("aliases", "ls", *here).stderr
    inside.ok("accounts", "create", "ada", *here)
    inside.ok("aliases", "set", "gpt-4o-mini", "org/other", "--account", "ada", *here)
    words = ["--task", "chat", "--min", "1", "--max", "3"]
    inside.ok("aliases", "set", "gpt-4o-mini", MODEL, "--account", "ada", *words, *here)
    (listed,) = json.loads(inside.ok("aliases", "ls", "--json", *here))
    assert listed.pop("changed").endswith("Z")
    assert listed == {
        "alias": "gpt-4o-mini",
        "account": "ada",
        "model": MODEL,
        "task": "chat",
        "min": 1,
        "desired": 1,
        "max": 3,
    }
    assert MODEL in inside.ok("aliases", "ls", "--account", "ada", *here)
    inside.ok("aliases", "rm", "gpt-4o-mini", "--account", "ada", *here)
    assert json.loads(inside.ok("aliases", "ls", "--json", *here)) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "a b", MODEL], "name: got 'a b'; accepted: 1-96 letters"),
        (["set", "mine", "gpt-4o"], "model: got 'gpt-4o'; accepted: org/name"),
        (["set", "mine", MODEL, "--min", "2"], "capacity.min: 2 is above capacity.desired"),
        (["set", "mine", MODEL, "--task", "chatting"], "task: got 'chatting'"),
        (["set", "mine", MODEL, "--account", "carl"], "No account is called carl"),
        (["rm", "mine", "--account", "ada"], "ada has no alias mine."),
        (["ls", "--account", "carl"], "No account is called carl"),
    ],
)
def test_what_is_wrong_is_said(inside: Inside, tmp_path: Path, words: list[str], said: str) -> None:
    here = ["--data-dir", str(tmp_path)]
    inside.ok("keys", "create", "first", *here)
    inside.ok("accounts", "create", "ada", *here)
    assert said in inside.problem("aliases", *words, *here)
    assert json.loads(inside.ok("aliases", "ls", "--json", *here)) == []
