"""The table of forms in the reference names tests that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PAGE = CHECKOUT / "docs/reference/formats.md"
NEED = re.compile(r"`modelyard\[([\w-]+)\]`|`(--[\w-]+)[ `]")
"""An extra, or a setting."""
HEAD = "| Form | served by | needs | test |"


def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").split(HEAD)[1].splitlines()[2:]
    table = lines[: lines.index("")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def names_in(source: str) -> set[str]:
    tree = ast.parse(source)
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_every_form_names_the_test_that_compares_its_answers_or_its_sentence(row: list[str]) -> None:
    _, served_by, _, test = row
    file, _, name = test.strip("`").partition("::")

    assert served_by
    assert name in names_in((CHECKOUT / file).read_text(encoding="utf-8"))


def test_what_a_form_is_said_to_need_is_an_extra_or_a_setting() -> None:
    project = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    settings = (CHECKOUT / "docs/reference/settings.md").read_text(encoding="utf-8")
    needs = [(need, NEED.findall(need)) for _, _, need, _ in rows() if need]

    assert needs
    for need, said in needs:
        assert said, need
        for extra, flag in said:
            assert f"\n{extra} = [" in project if extra else f"`{flag}`" in settings
