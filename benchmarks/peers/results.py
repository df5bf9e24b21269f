"""What a run came to, as tables, a plot and JSON in `benchmarks/results`. Owns their form."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape

from benchmarks.peers.load import client_name
from benchmarks.peers.peers import OWN
from benchmarks.peers.rows import Column, Row
from benchmarks.peers.targets import Case, Medians
from benchmarks.report import BOUNDS, RESULTS, Bound

BAR_WIDTH, BAR_HEIGHT, LABEL_WIDTH, GAP = 420, 18, 270, 10
"""In pixels."""


def write(rows: Mapping[Row, Medians]) -> bool:
    """Writes and prints everything. Returns whether every target was met."""
    RESULTS.mkdir(exist_ok=True)
    tables = [table(row, medians) for row, medians in rows.items()]
    bounds = [bound for row, medians in rows.items() for bound in check(row, medians)]
    how = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load by {client_name()}"
    head = f"# Beside other servers\n\n{how}; medians of the rounds of one run. `make bench` writes this page.\n"
    targets = "\n".join(["| row | figure | aimed at | this run | |", "|---|---|---|---|---|", *(b.row for b in bounds)])
    page = "\n".join([head, "![](peers.svg)\n", *tables, "## Targets\n", targets, ""])
    (RESULTS / "peers.md").write_text(page)
    (RESULTS / "peers.svg").write_text(plot(rows))
    (RESULTS / "peers.json").write_text(json.dumps(as_data(rows), indent=1) + "\n")
    print(page, flush=True)
    for bound in bounds:
        BOUNDS.check(f"{bound.benchmark}: {bound.words}", bound.figure, bound.promised, bound.kept)
    return all(bound.kept for bound in bounds)


def check(row: Row, medians: Medians) -> Sequence[Bound]:
    """Every target of a row beside its figure."""
    bounds = []
    for target in row.targets:
        promised = f"{'≤' if target.most else '≥'} {target.bound:g}"
        try:
            figure, met = f"{target.figure(medians):.2f}", target.is_met(medians)
        except (KeyError, ValueError):  # whoever it is compared with did not run
            figure, met = "none", False
        bounds.append(Bound(row.name, target.words, figure, promised, met))
    return bounds


def table(row: Row, medians: Medians) -> str:
    """A row's figures. What a server cannot be asked stays empty."""
    headings = " | ".join(heading for heading, _, _ in row.columns)
    lines = [
        f"## {row.name}\n\n{row.what[0].upper()}{row.what[1:]}.\n",
        f"| | {headings} |",
        f"|---|{'---|' * len(row.columns)}",
    ]
    for name in servers_of(medians):
        cells = [name, *(cell(column, name, medians) for column in row.columns)]
        lines += [f"| {' | '.join(cells)} |"]
    return "\n".join([*lines, ""])


def cell(column: Column, name: str, medians: Medians) -> str:
    """One figure of a server."""
    _, case, words = column
    return words(medians[name, case]) if (name, case) in medians else ""


def servers_of(medians: Medians) -> Sequence[str]:
    """Ours first."""
    names = dict.fromkeys(name for name, _ in medians)
    return sorted(names, key=lambda name: name not in OWN)


def as_data(rows: Mapping[Row, Medians]) -> object:
    """The figures for programs."""
    return {
        row.name: {f"{server}, {case}": asdict(figures) for (server, case), figures in medians.items()}
        for row, medians in rows.items()
    }


def plot(rows: Mapping[Row, Medians]) -> str:
    """What each server does per second with many clients, as bars."""
    parts: list[str] = []
    top = GAP
    for row, medians in rows.items():
        for case in row.cases:
            if case.clients > 1:
                top = draw(parts, top, row, case, medians)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_WIDTH + BAR_WIDTH + 80}" height="{top}" '
        'font-family="sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def draw(parts: list[str], top: int, row: Row, case: Case, medians: Medians) -> int:
    """Adds the bars of one case below `top`, in pixels; where the next begins."""
    parts.append(f'<text x="0" y="{top + 14}" font-weight="bold">{row.name}, {case}: {row.unit}</text>')
    top += BAR_HEIGHT + GAP
    rates = {name: medians[name, case].rate for name in servers_of(medians) if (name, case) in medians}
    for name, rate in rates.items():
        colour = "#2563eb" if name in OWN else "#9ca3af"
        width = max(1, round(BAR_WIDTH * rate / max(rates.values())))
        parts.append(f'<text x="0" y="{top + 14}">{escape(name)}</text>')
        parts.append(
            f'<rect x="{LABEL_WIDTH}" y="{top}" width="{width}" height="{BAR_HEIGHT}" fill="{colour}"/>'
            f'<text x="{LABEL_WIDTH + width + 6}" y="{top + 14}">{rate:,.{0 if rate >= 100 else 1}f}</text>'
        )
        top += BAR_HEIGHT + 4
    return top + GAP
