"""`modelyard simulate`, run in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import run_command

SMALL = ("--hours", "0.5", "--models", "20", "--requests", "60", "--nodes", "2")


def simulate(*arguments: str) -> tuple[int, str]:
    done = run_command(["simulate", *arguments])
    return done.returncode, done.stdout + done.stderr


def test_policies_are_compared_side_by_side(tmp_path: Path) -> None:
    code, printed = simulate(*SMALL, "--timeout", "30", "--timeout", "600", "--plot", str(tmp_path / "both.svg"))
    assert code == 0
    head, short, long = printed.splitlines()
    assert head.split()[:2] == ["POLICY", "REQUESTS"]
    assert short.startswith("fixed 30 s")
    assert long.startswith("fixed 600 s")
    assert "fixed 600 s" in (tmp_path / "both.svg").read_text()


def test_a_file_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "day.csv").write_text("at_s,model,duration_s\n1,a,1\n100,a,1\n")
    code, printed = simulate("--trace", str(tmp_path / "day.csv"), "--json")
    (outcome,) = json.loads(printed)
    assert (code, outcome["requests"], outcome["coldStarts"]) == (0, 2, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--shape", "square"), "shape: got 'square'; accepted: poisson, bursty, diurnal, azure"),
        (("--trace", "/none.csv"), "/none.csv cannot be read"),
        ((*SMALL, "--plot", "/none/plot.svg"), "/none/plot.svg cannot be written"),
    ],
)
def test_what_is_wrong_is_told(arguments: tuple[str, ...], words: str) -> None:
    code, printed = simulate(*arguments)
    assert code == 1
    assert words in printed
