"""The command: `python -m tests.coverage [--part NAME] [--family NAME] [--processes N] [--again]`."""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from typing import cast

from tests.coverage.cases import Case, Part, Result, Status
from tests.coverage.children import run_cases
from tests.coverage.page import merge_page, write_page
from tests.coverage.results import add_result, default_path, read_results, summarise

PARTS = {"architectures": "tests.coverage.architectures", "pipelines": "tests.coverage.pipelines"}
"""Part → its module, in the order of the page."""


def main() -> None:
    """Runs what has no result yet, prints the numbers, writes the page when everything was asked for."""
    options = read_options()
    names = [options.part] if options.part else list(PARTS)
    for name in names:
        part = load_part(name)
        measured = measure(part, options)
        if options.merge:
            merge_page(part, measured, datetime.now(UTC).date())
    if not (options.family or options.head or options.part):
        write_page({part: current_results(part) for part in map(load_part, PARTS)}, datetime.now(UTC).date())


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.coverage", description=__doc__)
    parser.add_argument("--part", choices=PARTS, help="one library's models only")
    parser.add_argument("--family", help="one architecture only, or a pattern: bert, 'qwen*'")
    parser.add_argument("--head", help="one head only, or a pattern")
    parser.add_argument("--processes", type=int, default=2, help="how many models are asked at a time")
    parser.add_argument("--again", action="store_true", help="also what has a result")
    parser.add_argument("--failed", action="store_true", help="also what has a result that is not equal")
    parser.add_argument("--merge", action="store_true", help="writes what was asked for into the page")
    return parser.parse_args()


def load_part(name: str) -> Part:
    """The part's module."""
    return cast("Part", import_module(PARTS[name]))


def measure(part: Part, options: argparse.Namespace) -> list[Result]:
    """Runs the part's cases that are asked for and have no result of this version yet. The results of all that are
    asked for."""
    part.preload()
    path, installed = default_path(part), version(part.LIBRARY)
    chosen = [case for case in part.list_cases() if is_chosen(case, options)]
    known = read_results(path)
    pending = [case for case in chosen if options.again or is_open(known.get(case.id), failed=options.failed)]
    print(f"{part.TITLE}: {len(chosen)} cases, {len(pending)} to run; results in {path}", flush=True)
    for case, finding, seconds in run_cases(part, pending, options.processes):
        add_result(path, Result(case, finding, seconds, installed))
        print(f"{finding.status:>22}  {case.family}  {case.name}  {case.head}  {finding.detail}", flush=True)
    results = results_of(chosen, part)
    print(summarise(results), flush=True)
    return results


def is_chosen(case: Case, options: argparse.Namespace) -> bool:
    """Whether the command asks for it."""
    return fnmatch.fnmatchcase(case.family, options.family or "*") and fnmatch.fnmatchcase(
        case.head, options.head or "*"
    )


def is_open(known: Result | None, *, failed: bool) -> bool:
    """Whether a case is to be run. `failed`: also one that did not end equal."""
    return known is None or (failed and known.finding.status not in (Status.EQUAL, Status.NO_TASK))


def current_results(part: Part) -> list[Result]:
    """Of every case that the installed library has."""
    return results_of(part.list_cases(), part)


def results_of(cases: Sequence[Case], part: Part) -> list[Result]:
    """In the order of the cases."""
    known = read_results(default_path(part))
    return [known[case.id] for case in cases if case.id in known]


if __name__ == "__main__":
    main()
