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
from tests.coverage.page import merge_page, read_section, render_section


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


class Heads(FewCases):
    """Cases of which each has a head of its own."""

    def list_cases(self) -> list[Case]:
        return [Case("few", "family", name, name.lower()) for name in ("Equal", "Refused", "Absent", "Silent")]


def of_heads(*statuses: Status) -> list[Result]:
    details = ("", "no | never", "it wants torchvision", "")
    return [
        Result(case, Finding(status, detail=detail), 1.0, "1.2")
        for case, status, detail in zip(Heads().list_cases(), statuses, details, strict=True)
    ]


FIRST = (Status.EQUAL, Status.REFUSED, Status.NOT_BUILT, Status.NO_TASK)
OF_ONE_HEAD = [
    Result(case, Finding(status), 1.0, "1.2")
    for case, status in zip(
        FewCases().list_cases(), (Status.EQUAL, Status.NO_TASK, Status.EQUAL, Status.NO_TASK), strict=True
    )
]


@pytest.mark.parametrize(("part", "written"), [(Heads(), of_heads(*FIRST)), (FewCases(), OF_ONE_HEAD)])
def test_a_section_is_read_back_as_it_was_written(part: FewCases, written: list[Result]) -> None:
    known, again, day = read_section(part, render_section(part, written, "28 November 2026"))
    assert [each.finding for each in known.values()] == [each.finding for each in written]
    assert (again, day) == ({}, "28 November 2026")


def test_a_class_that_was_asked_nothing_is_read_back_where_it_has_another_head_since() -> None:
    text = render_section(Heads(), of_heads(*FIRST), "28 November 2026")
    known, _, _ = read_section(Heads(), text.replace("Silent (silent)", "Silent (base)"))
    assert [each.finding.status for each in known.values()] == list(FIRST)


def test_classes_that_are_asked_nothing_are_named_by_family() -> None:
    page = render_section(FewCases(), OF_ONE_HEAD, "28 November 2026")
    assert "| family | safetensors | base |  |" in page
    assert "| family | Full (base), Raises (base) |" in page


def test_a_section_whose_numbers_are_not_those_of_its_rows_is_not_read() -> None:
    text = render_section(Heads(), of_heads(*FIRST), "28 November 2026")
    with pytest.raises(ValueError, match="its rows are"):
        read_section(Heads(), text.replace("2 pairs built", "3 pairs built"))


def test_what_is_measured_again_is_written_into_its_section_alone_and_named(tmp_path: Path) -> None:
    page = tmp_path / "coverage.md"
    other = "## Others\n\nothers stay\n"
    page.write_text("\n".join(["# Coverage", render_section(Heads(), of_heads(*FIRST), "28 November 2026"), other]))
    better = of_heads(Status.EQUAL, Status.EQUAL, Status.NOT_BUILT, Status.NO_TASK)
    merge_page(Heads(), better[1:2], date(2026, 11, 30), page)
    text = page.read_text()
    assert text.startswith("# Coverage\n## Few cases\n")
    assert text.endswith(other)
    assert "pytest 1.2, 28 November 2026: 2 pairs built, 2 answered by the library, 2 equal here (100.0%)" in text
    assert "Measured again since, by themselves: family (30 November 2026)." in text
    merge_page(Heads(), better[:1], date(2026, 12, 1), page)
    assert page.read_text() == text.replace("30 November", "01 December")


def test_a_section_of_which_all_was_measured_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "coverage.md"
    page.write_text("## Few cases\n\nof another time\n\n## Others\n\nothers stay\n")
    merge_page(Heads(), of_heads(*FIRST), date(2026, 11, 30), page)
    assert (
        page.read_text()
        == f"{render_section(Heads(), of_heads(*FIRST), '30 November 2026')}\n## Others\n\nothers stay\n"
    )


def test_results_of_another_version_are_not_mixed_into_the_page(tmp_path: Path) -> None:
    page = tmp_path / "coverage.md"
    page.write_text(render_section(Heads(), of_heads(*FIRST), "28 November 2026"))
    newer = Result(Heads().list_cases()[0], Finding(Status.EQUAL), 1.0, "1.3")
    with pytest.raises(ValueError, match="run all"):
        merge_page(Heads(), [newer], date(2026, 11, 30), page)
