"""What runs cases, keeps results and writes the page, on a part without a library."""

from __future__ import annotations

import os
import signal
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tests.coverage import results
from tests.coverage.cases import Case, Finding, Result, Status
from tests.coverage.children import run_cases
from tests.coverage.page import render_section


class FewCases:
    """Cases that end in every way."""

    LIBRARY = "pytest"
    TITLE = "Few cases"

    def preload(self) -> None:
        pass

    def list_cases(self) -> list[Case]:
        return [Case("few", "family", name, "base") for name in ("Equal", "Raises", "Killed", "Full")]

    def check(self, case: Case, folder: Path) -> Finding:
        assert list(folder.iterdir()) == []
        match case.name:
            case "Raises":
                raise ValueError("the first line\n  the second")
            case "Killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "Full":
                bytearray(64 * 1024**3)
        return Finding(Status.EQUAL, "feature-extraction")


@pytest.fixture(scope="module")
def found() -> dict[str, Finding]:
    part = FewCases()
    return {case.name: finding for case, finding, _ in run_cases(part, part.list_cases(), processes=2)}


def test_a_case_that_crashes_ends_alone(found: dict[str, Finding]) -> None:
    assert found["Equal"] == Finding(Status.EQUAL, "feature-extraction")
    assert found["Killed"].status is Status.NOT_BUILT
    assert "-9" in found["Killed"].detail


def test_what_a_case_raises_is_told_on_one_line(found: dict[str, Finding]) -> None:
    assert found["Raises"].detail == "ValueError: the first line the second"
    assert found["Full"].detail.startswith("MemoryError")


def result(name: str, status: Status, **more: Any) -> Result:
    return Result(Case("few", "family", name, "base"), Finding(status, **more), 1.0, "1.2")


def test_results_are_read_back_and_the_newest_counts(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "results.jsonl"
    assert results.read_results(file) == {}
    first, second = result("A", Status.REFUSED, detail="no"), result("A", Status.EQUAL)
    for each in (first, result("B", Status.NOT_BUILT), second):
        results.add_result(file, each)
    assert list(results.read_results(file).values()) == [second, result("B", Status.NOT_BUILT)]


def test_pairs_that_were_not_built_are_counted_apart() -> None:
    found = [result(str(place), status) for place, status in enumerate(Status)]
    said = results.summarise(found)
    assert said.startswith("6 pairs built, 3 answered by the library, 1 equal here (33.3%), 1 different, 1 refused")
    assert said.endswith("1 not built (0 of them want a library that is not installed), 1 are asked nothing")
    absent = result("A", Status.NOT_BUILT, detail="ImportError: it wants torchvision")
    assert "1 not built (1 of them want a library that is not installed)" in results.summarise([absent])


def test_the_page_is_the_same_for_the_same_results() -> None:
    found = [
        result("B", Status.DIFFERENT, detail="a | b"),
        result("A", Status.EQUAL),
        result("C", Status.NOT_BUILT, detail="it wants torchvision"),
    ]
    part, day = FewCases(), date(2026, 11, 28)
    page = render_section(part, found, day)
    assert page == render_section(part, found[::-1], day)
    assert "| family | safetensors | base | base (different) |" in page
    assert "| B | base | different | `a \\| b` |" in page
    assert "| C | base | not built | `it wants torchvision` |" in page
    assert "pytest 1.2, 28 November 2026: 2 pairs built" in page
