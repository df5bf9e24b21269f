"""What a run came to, as tables, a plot and JSON in `benchmarks/results`. Owns their form."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from benchmarks.peers.load import client_name
from benchmarks.peers.rows import ALONE, OURS, Medians, Row

FOLDER = Path(__file__).parents[1] / "results"
BAR_WIDTH, BAR_HEIGHT, LABEL_WIDTH, GAP = 420, 18, 170, 10
"""In pixels."""


def write(rows: Mapping[Row, Medians]) -> bool:
    """Writes and prints everything. Returns whether every target was met."""
    FOLDER.mkdir(exist_ok=True)
    tables = [table(row, medians) for row, medians in rows.items()]
    lines, met = targets(rows)
    how = f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, load by {client_name()}"
    head = f"# Beside other servers\n\n{how}; medians of the rounds of one run. `make bench` writes this page.\n"
    page = "\n".join([head, *tables, "## Targets\n", *lines, ""])
    (FOLDER / "peers.md").write_text(page)
    (FOLDER / "peers.svg").write_text(plot(rows))
    (FOLDER / "peers.json").write_text(json.dumps(as_data(rows), indent=1) + "\n")
    print(page, flush=True)
    return met


def table(row: Row, medians: Medians) -> str:
    """A row's figures."""
    lines = [
        f"## {row.name}\n\n{row.what[0].upper()}{row.what[1:]}.\n",
        "| | 1 client: p50, p99 in ms | 64 clients: requests/s | p99 in ms |",
        "|---|---|---|---|",
    ]
    for name in servers_of(medians):
        alone, many = medians[name, 1], medians[name, 64]
        p99 = "" if name == ALONE else f"{many.p99_ms:.1f}"
        lines.append(f"| {name} | {alone.p50_ms:.2f}, {alone.p99_ms:.2f} | {many.rate:,.0f} | {p99} |")
    return "\n".join([*lines, ""])


def servers_of(medians: Medians) -> Sequence[str]:
    """Ours first."""
    names = dict.fromkeys(name for name, _ in medians)
    return sorted(names, key=lambda name: name != OURS)


def targets(rows: Mapping[Row, Medians]) -> tuple[list[str], bool]:
    """Every target beside its figure; whether all were met."""
    lines, met = ["| | aimed at | this run | |", "|---|---|---|---|"], True
    for row, medians in rows.items():
        for target in row.targets:
            met &= (is_met := target.is_met(medians))
            bound = f"{'≤' if target.most else '≥'} {target.bound:g}"
            verdict = "met" if is_met else "**missed**"
            lines.append(f"| {row.name}: {target.words} | {bound} | {target.figure(medians):.2f} | {verdict} |")
    return lines, met


def as_data(rows: Mapping[Row, Medians]) -> object:
    """The figures for programs."""
    return {
        row.name: {f"{server}, {clients}": asdict(figures) for (server, clients), figures in medians.items()}
        for row, medians in rows.items()
    }


def plot(rows: Mapping[Row, Medians]) -> str:
    """Requests per second of 64 clients as bars."""
    parts, top = [], GAP
    for row, medians in rows.items():
        parts.append(f'<text x="0" y="{top + 14}" font-weight="bold">{row.name}, 64 clients, requests/s</text>')
        top += BAR_HEIGHT + GAP
        most = max(medians[name, 64].rate for name in servers_of(medians))
        for name in servers_of(medians):
            rate = medians[name, 64].rate
            colour = "#2563eb" if name == OURS else "#9ca3af"
            width = max(1, round(BAR_WIDTH * rate / most))
            parts.append(f'<text x="0" y="{top + 14}">{escape(name)}</text>')
            parts.append(
                f'<rect x="{LABEL_WIDTH}" y="{top}" width="{width}" height="{BAR_HEIGHT}" fill="{colour}"/>'
                f'<text x="{LABEL_WIDTH + width + 6}" y="{top + 14}">{rate:,.0f}</text>'
            )
            top += BAR_HEIGHT + 4
        top += GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL_WIDTH + BAR_WIDTH + 80}" height="{top}" '
        'font-family="sans-serif" font-size="13">\n<rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])
