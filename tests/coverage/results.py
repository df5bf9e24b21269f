"""The file of results: one JSON object a line, added to as cases end, so that a run that was cut goes on."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

from tests.coverage.cases import ANSWERED, LEFT_OUT, Case, Finding, Part, Result, Status

ABSENT = ("ImportError:", "ModuleNotFoundError:")
"""How the details of such findings start."""


def default_path(part: Part) -> Path:
    """Where the results for the installed version of the part's library are kept."""
    return Path(tempfile.gettempdir()) / "modelyard-coverage" / f"{part.LIBRARY}-{version(part.LIBRARY)}.jsonl"


def read_results(path: Path) -> dict[str, Result]:
    """By case: the newest, where a case was run again."""
    if not path.exists():
        return {}
    results = (_read(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {result.case.id: result for result in results}


def add_result(path: Path, result: Result) -> None:
    """Writes one more line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(result.to_plain()) + "\n")


def _read(line: str) -> Result:
    plain = json.loads(line)
    case = Case(*(plain[name] for name in ("part", "family", "name", "head", "form")))
    finding = Finding(Status(plain["status"]), plain["task"], plain["detail"])
    return Result(case, finding, plain["seconds"], plain["version"])


def count(results: Iterable[Result]) -> Mapping[Status, int]:
    """How many there are of each status."""
    return Counter(result.finding.status for result in results)


def summarise(results: Iterable[Result]) -> str:
    """The numbers that are printed: built, answered by the library, equal here, left out."""
    results = list(results)
    counts = count(results)
    absent = sum(wants_library(result) for result in results)
    built = sum(number for status, number in counts.items() if status not in (Status.NOT_BUILT, Status.NO_TASK))
    answered = sum(counts[status] for status in ANSWERED)
    equal = counts[Status.EQUAL]
    share = f"{equal / answered:.1%}" if answered else "none"
    left_out = ", ".join(f"{counts[status]} {status}" for status in sorted(LEFT_OUT))
    return (
        f"{built} pairs built, {answered} answered by the library, {equal} equal here ({share}), "
        f"{counts[Status.DIFFERENT]} different, {counts[Status.REFUSED]} refused; left out: {left_out}; "
        f"{counts[Status.NOT_BUILT]} not built ({absent} of them want a library that is not installed), "
        f"{counts[Status.NO_TASK]} are asked nothing"
    )


def wants_library(result: Result) -> bool:
    """Whether a model was not built because the library itself wants another one that is not installed."""
    return result.finding.status is Status.NOT_BUILT and result.finding.detail.startswith(ABSENT)
