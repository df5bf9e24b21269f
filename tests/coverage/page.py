"""docs/reference/coverage.md, made of the results: one section for each library, sorted, the same for the same results
on the same day."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from tests.coverage.cases import Case, Finding, Part, Result, Status
from tests.coverage.results import summarise

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "coverage.md"
HEAD = """\
# Coverage

Which models' answers are those of the library that they come from. `make coverage` builds a tiny model with random
weights for every class of the installed libraries that a task of ours serves, asks it here and in the library called
directly, and writes this page. `make coverage FAMILY=bert` measures one family; with `MERGE=1` its rows here are
written anew, and it is named under the numbers. `modelyard[vision]` is installed; images are read with
Pillow wherever the library can.

- **equal**: both give the same answer, within the tolerance of the task.
- **different**, **refused**: the library answers; here the answer is another one, or none.
- **library fails**, **no reference exists**, **another head is right**: there is nothing to compare with.
- **not built**: no model of the class could be made here: the library wants another one that is not installed, or the
  parts of a pipeline are not written down yet.
- **asked nothing**: a class that needs what no task here sends, or makes what none answers with.
"""
MAX_DETAIL = 160
"""Characters of an error that are shown."""
_NUMBERS = re.compile(
    r"^\S+ (?P<version>\S+), (?P<day>\d\d \w+ \d+): (?P<numbers>.+)\.\n"
    r"(?:\nMeasured again since, by themselves: (?P<again>.+)\.\n)?",
    re.MULTILINE,
)
_AGAIN_EACH = re.compile(r"(\S+) \(([^)]+)\)")
_CELLS = re.compile(r"(?<!\\)\|")


def write_page(sections: Mapping[Part, Sequence[Result]], day: date, page: Path = PAGE) -> None:
    """Writes the page."""
    parts = [render_section(part, results, day) for part, results in sections.items()]
    page.write_text("\n".join([HEAD, *parts]), encoding="utf-8")


def merge_page(part: Part, measured: Sequence[Result], day: date, page: Path = PAGE) -> None:
    """Writes what was measured of some cases, or of all, into the part's section; the rest of the page stays as it is.

    Raises ValueError where the page is of another version of the library.
    """
    text = page.read_text(encoding="utf-8")
    start = text.index(f"## {part.TITLE}\n")
    end = text.find("\n## ", start) + 1 or len(text)
    whole = {result.case.id for result in measured} == {case.id for case in part.list_cases()}
    section = render_section(part, measured, day) if whole else merge_section(part, text[start:end], measured, day)
    page.write_text(text[:start] + section + ("\n" if end < len(text) else "") + text[end:], encoding="utf-8")


def merge_section(part: Part, text: str, measured: Sequence[Result], day: date) -> str:
    """The section `text` with what was measured of some cases in it. Raises ValueError as `merge_page` does."""
    known, again, first_day = read_section(part, text)
    versions = {result.version for result in (*known.values(), *measured)}
    if len(versions) > 1:
        raise ValueError(f"the page is of {part.LIBRARY} {min(versions)}, and {max(versions)} is installed: run all")
    known |= {result.case.id: result for result in measured}
    again |= {result.case.family: f"{day:%d %B %Y}" for result in measured}
    return render_section(part, list(known.values()), first_day, again)


def read_section(part: Part, text: str) -> tuple[dict[str, Result], dict[str, str], str]:
    """What a section says: the result of each case that it names, by id; the families measured again since, each with
    its day; the day of the others.

    Raises ValueError where the numbers of the section are not those of its rows.
    """
    found = _NUMBERS.search(text)
    if found is None:
        raise ValueError(f"the page has no numbers of {part.TITLE}")
    rows = [[cell.strip() for cell in _CELLS.split(line)[1:-1]] for line in text.splitlines() if line.startswith("|")]
    silent = {row[0]: row[1].split(", ") for row in rows if len(row) == 2}
    rows = [row for row in rows if len(row) == 4]
    families = {row[0]: (row[2].split(", "), row[3].split(", ")) for row in rows if row[1] == "safetensors"}
    others: dict[str, list[tuple[str, Status, str]]] = defaultdict(list)
    for name, head, status, why in (row for row in rows if row[2] in set(Status)):
        others[name].append((head, Status(status), why[1:-1].replace("\\|", "|")))
    known = {}
    for case in part.list_cases():
        equal, other = families.get(case.family, ([], []))
        told = others[case.name]
        here = [each for each in told if each[1] is Status.NOT_BUILT or f"{each[0]} ({each[1]})" in other]
        here.sort(key=lambda each: each[0] != case.head)  # another where the class is asked as another since
        if _told_silent(case) in silent.get(case.family, []):
            finding = Finding(Status.NO_TASK)
        elif here:
            told.remove(here[0])
            finding = Finding(here[0][1], detail=here[0][2])
        elif case.head in equal:
            finding = Finding(Status.EQUAL)
        elif any(each.startswith(f"{case.name} (") for each in silent.get(case.family, [])):
            finding = Finding(Status.NO_TASK)  # as another, before there was a task for it
        else:
            continue
        known[case.id] = Result(case, finding, 0.0, found["version"])
    if summarise(known.values()) != found["numbers"]:
        raise ValueError(f"the page says {found['numbers']}; its rows are {summarise(known.values())}")
    return known, dict(_AGAIN_EACH.findall(found["again"] or "")), found["day"]


def render_section(
    part: Part, results: Sequence[Result], day: date | str, again: Mapping[str, str] | None = None
) -> str:
    """One library's: its numbers, its families, what is not equal and why. `again`: families that were measured by
    themselves after `day`, and when."""
    day = day if isinstance(day, str) else f"{day:%d %B %Y}"
    versions = ", ".join(sorted({result.version for result in results})) or "none"
    built = [result for result in results if result.finding.status not in (Status.NOT_BUILT, Status.NO_TASK)]
    lines = [f"## {part.TITLE}", "", f"{part.LIBRARY} {versions}, {day}: {summarise(results)}.", ""]
    if again:
        each = ", ".join(f"{family} ({when})" for family, when in sorted(again.items()))
        lines += [f"Measured again since, by themselves: {each}.", ""]
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
    silent = _families(each for each in results if each.finding.status is Status.NO_TASK)
    if silent:
        lines += ["", "| family | asked nothing |", "| --- | --- |"]
        lines += [
            f"| {family} | {', '.join(sorted(_told_silent(result.case) for result in each))} |"
            for (family, _), each in sorted(silent.items())
        ]
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


def _told_silent(case: Case) -> str:
    """How a case that is asked nothing is named among those of its family."""
    return f"{case.name} ({case.head})"


def _order(result: Result) -> tuple[str, str, str]:
    return result.finding.status, result.case.family, result.case.id
