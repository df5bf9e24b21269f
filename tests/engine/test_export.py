"""What comes of the program that makes variants, and what becomes of what it leaves."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from modelyard.engine.export import MOST_REPORTS, make_variant, take_over
from modelyard.errors import ModelRefused
from modelyard.records.variants import ExportOrder


def order(source: Path, target: Path) -> ExportOrder:
    return ExportOrder(
        path=str(source), task="text-classification", kind="onnx", target=str(target), model_id="a/b", sandbox="auto"
    )


@pytest.mark.parametrize(
    ("says", "words"),
    [
        ("print('no JSON')", "makes no sense"),
        ("print('x' * 2_000_000)", "makes no sense"),
        (f"print('{{}}\\n' * {MOST_REPORTS + 1})", "makes no sense: more than"),
        ("sys.exit(3)", "ended with status 3"),
        ("print('{\"done\": {}}')", "cannot be written: No such file"),
    ],
)
async def test_a_program_that_does_as_it_likes_makes_nothing(tmp_path: Path, says: str, words: str) -> None:
    program = (sys.executable, "-c", f"import sys; sys.stdin.read(); {says}")
    with pytest.raises(ModelRefused, match=words):
        await make_variant(order(tmp_path / "source", tmp_path / "made" / "variant"), lambda _: None, program)
    assert list((tmp_path / "made").iterdir()) == []


def test_what_is_no_file_is_not_taken_over(tmp_path: Path) -> None:
    made, target = tmp_path / "made", tmp_path / "target"
    made.mkdir()
    (made / "config.json").symlink_to("/etc/passwd")
    with pytest.raises(ModelRefused, match=r"no file: config\.json"):
        take_over(made, target)
    assert not target.exists()
