"""What the command says of itself, and that the reference pages say the same."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelyard import __version__
from modelyard.cli.reference import leaves, pages
from modelyard.config import Settings, variable
from tests.cli.conftest import Inside, Terminal
from tests.command import COMMAND

PAGES = Path(__file__).parents[2] / "docs" / "reference"
COMMANDS: dict[str, Any] = dict(leaves(COMMAND, "modelyard"))
FIXED = ["serve", "run", "ls", "ps", "pull", "stop", "rm", "logs", "events", "doctor", "worker", "demo"]
"""Commands that scripts rely on."""


def test_every_fixed_command_is_there() -> None:
    assert {f"modelyard {name}" for name in FIXED} <= COMMANDS.keys()
    assert {
        "modelyard accounts create",
        "modelyard accounts credit",
        "modelyard accounts ls",
        "modelyard accounts set",
        "modelyard keys create",
        "modelyard keys ls",
        "modelyard keys revoke",
        "modelyard keys set",
        "modelyard config show",
    } <= COMMANDS.keys()


@pytest.mark.parametrize("path", COMMANDS)
def test_help_of_a_command_explains_each_of_its_options(path: str) -> None:
    command = COMMANDS[path]
    words = path.split()[1:]
    context = command.make_context(path, [], resilient_parsing=True)
    assert command.help, words
    for parameter in command.get_params(context):
        assert getattr(parameter, "help", None), f"{path}: {parameter.name} is not explained"


def test_help_of_serve_has_a_flag_for_every_setting(inside: Inside) -> None:
    shown = inside.ok("serve", "--help")
    for field in dataclasses.fields(Settings):
        assert f"--{field.name.replace('_', '-')}" in shown


@pytest.mark.parametrize(("name", "text"), pages().items())
def test_reference_page_is_what_the_code_says(name: str, text: str) -> None:
    assert (PAGES / name).read_text(encoding="utf-8") == text, "run `python -m modelyard.cli.reference`"


def test_reference_names_every_setting_and_every_command() -> None:
    settings = (PAGES / "settings.md").read_text(encoding="utf-8")
    commands = (PAGES / "cli.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(Settings):
        assert f"`{field.name}`" in settings
        assert f"`{variable(field.name)}`" in settings
    for path in COMMANDS:
        assert f"\n## {path}\n" in commands


def test_version(terminal: Terminal) -> None:
    assert terminal.ok("--version") == f"modelyard {__version__}\n"


def test_help_lists_every_command(inside: Inside) -> None:
    shown = inside.ok("--help")
    for path in COMMANDS:
        assert f" {path.split()[1]} " in shown


def test_a_wrong_command_line_ends_with_2(terminal: Terminal, inside: Inside) -> None:
    assert terminal.run("serve", "--no-such-flag").returncode == 2
    assert inside.run("rn").returncode == 2


def test_asking_for_help_imports_nothing_slow() -> None:
    program = (
        "import sys, modelyard.cli.main\n"
        "slow = {'torch', 'transformers', 'modelyard.gateway', 'sqlalchemy', 'httpx', 'asyncio', 'uvicorn'}\n"
        "print(sorted(slow & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tasks_are_listed_and_shown(inside: Inside) -> None:
    assert {"chat", "text-to-image"} <= {task["task"] for task in json.loads(inside.ok("tasks", "ls", "--json"))}
    assert "`top_k`" in inside.ok("tasks", "show", "text-classification")
    schemas = json.loads(inside.ok("tasks", "show", "text-classification", "--json"))
    assert schemas["params"]["properties"]["top_k"]["description"]
    assert "text-classification" in inside.problem("tasks", "show", "text-clasification")
