"""What can be known of the pages' examples and links without running anything."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.command import COMMAND
from tests.pages.blocks import ROOT, Block, blocks, commands, pages
from tests.pages.programs import NOT_RUN, PAGES_NOT_RUN, RUN, STAND_STILL

LINK = re.compile(r"(?<!\\)\]\(<?([^)\s>]*)>?\)")
HEADING = re.compile(r"^#{1,6} (.*)$", re.MULTILINE)
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
READERS = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}


def named(values: list[Any]) -> Any:
    return pytest.mark.parametrize("block", values, ids=str)


@named(blocks("python"))
def test_an_example_in_python_can_be_read(block: Block) -> None:
    compile(block.text, str(block), "exec")


@named(blocks(*READERS))
def test_an_example_of_data_can_be_read(block: Block) -> None:
    READERS[block.language](block.text)


@named(blocks("sh"))
def test_an_example_for_a_shell_can_be_read(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert commands(block)


@named(blocks("sh"))
def test_of_every_program_is_known_whether_it_is_run(block: Block) -> None:
    known = RUN | NOT_RUN.keys() | {name.split()[0] for name in STAND_STILL}
    assert {words[0] for words in commands(block)} <= known


def test_what_is_not_run_is_in_an_example() -> None:
    called = {name for block in blocks("sh") for words in commands(block) for name in (words[0], " ".join(words[:2]))}
    assert {*NOT_RUN, *STAND_STILL, *RUN} - called == set()
    assert [page for page in PAGES_NOT_RUN if not (ROOT / page).exists()] == []


def our_commands() -> list[Any]:
    """Every call of our own command in an example, with its place."""
    calls = [(block, words) for block in blocks("sh") for words in commands(block)]
    return [
        pytest.param(words[1:], id=f"{block} {' '.join(words[1:3])}")
        for block, words in calls
        if Path(words[0]).name == "modelyard"
    ]


@pytest.mark.parametrize("words", our_commands())
def test_our_command_has_what_an_example_calls_it_with(words: list[str]) -> None:
    command: Any = COMMAND
    if words[0].startswith("-"):  # does its work as it is read: it is not to be done here
        assert words[0] in {option for parameter in command.params for option in parameter.opts}
        return
    context = None
    while hasattr(command, "get_command"):
        context = command.make_context("modelyard", words, parent=context)
        _, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
    command.make_context("modelyard", words, parent=context)


@named(blocks("sh"))
def test_what_an_example_names_in_the_checkout_is_there(block: Block) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for words in commands(block):
        if words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= targets
        for word in words:
            if re.match(r"(deploy|examples|benchmarks|tests)/", word):
                assert (ROOT / word).exists(), word
            for extra in re.findall(r"modelyard\[([a-z,-]+)\]", word):
                assert set(extra.split(",")) <= extras.keys()


def anchors(text: str) -> set[str]:
    """How a page's headings are linked to."""
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_what_there_is(page: Path) -> None:
    text = CODE.sub("", page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_file() or not page.is_relative_to(ROOT / "docs"), f"{link}: a folder is no page of the site"
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link
