"""docs/reference/coverage.md, made of the results: one section for each library, sorted, the same for the same results
on the same day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from tests.coverage.cases import Part, Result, Status
from tests.coverage.results import summarise

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "coverage.md"
HEAD = """\
# Coverage

Which models' answers are those of the library that they come from. `make coverage` builds a tiny model with random
weights for every class of the installed libraries that a task of ours serves, asks it here and in the library called
directly, and writes this page. `make coverage FAMILY=bert` measures one family.

- **equal**: both give the same answer, within the tolerance of the task.
- **different**, **refused**: the library answers; here the answer is another one, or none.
- **library fails**, **no reference exists**, **another head is right**: there is nothing to compare with.
- **not built**: no model of the class could be made here: the library wants another one that is not installed, or the
  parts of a pipeline are not written down yet.
- Classes that are asked nothing (they read what no task here does) are counted and not listed.
"""
MAX_DETAIL = 160
"""Characters of an error that are shown."""


def write_page(sections: Mapping[Part, Sequence[Result]], day: date, page: Path = PAGE) -> None:
    """Writes the page."""
    parts = [render_section(part, results, day) for part, results in sections.items()]
    page.write_text("\n".join([HEAD, *parts]), encoding="utf-8")


def render_section(part: Part, results: Sequence[Result], day: date) -> str:
    """One library's: its numbers, its families, what is not equal and why."""
    versions = ", ".join(sorted({result.version for result in results})) or "none"
    built = [result for result in results if result.finding.status not in (Status.NOT_BUILT, Status.NO_TASK)]
    lines = [f"## {part.TITLE}", "", f"{part.LIBRARY} {versions}, {day:%d %B %Y}: {summarise(results)}.", ""]
    lines += ["| family | form | equal | other |", "| --- | --- | --- | --- |"]
    lines += [_family_line(family, form, each) for (family, form), each in sorted(_families(built).items())]
    others = sorted((each for each in built if each.finding.status is not Status.EQUAL), key=_order)
    if others:
        lines += ["", "| class | head | status | why |", "| --- | --- | --- | --- |"]
        lines += [_other_line(result) for result in others]
    absent = sorted((each for each in results if each.finding.status is Status.NOT_BUILT), key=_order)
    if absent:
        lines += ["", "| class | head | status | why |", "| --- | --- | --- | --- |"]
        lines += [_other_line(result) for result in absent]
    return "\n".join([*lines, ""])


def _families(results: Iterable[Result]) -> Mapping[tuple[str, str], list[Result]]:
    families = defaultdict(list)
    for result in results:
        families[result.case.family, result.case.form].append(result)
    return families


def _family_line(family: str, form: str, results: Sequence[Result]) -> str:
    equal = sorted({result.case.head for result in results if result.finding.status is Status.EQUAL})
    other = sorted({f"{r.case.head} ({r.finding.status})" for r in results if r.finding.status is not Status.EQUAL})
    return f"| {family} | {form} | {', '.join(equal)} | {', '.join(other)} |"


def _other_line(result: Result) -> str:
    why = result.finding.detail.replace("|", "\\|").replace("\n", " ")[:MAX_DETAIL]
    return f"| {result.case.name} | {result.case.head} | {result.finding.status} | `{why.replace('`', ' ')}` |"


def _order(result: Result) -> tuple[str, str, str]:
    return result.finding.status, result.case.family, result.case.id
