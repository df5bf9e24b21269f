"""How commands print: tables and JSON on standard output, everything else on standard error. Owns the two consoles.

Colour only on a terminal; lines are never wrapped or cut for a pipe, so that they can be searched.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 10_000
"""Columns of an output that no person looks at directly."""


def stdout() -> Console:
    """A console on standard output."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def stderr() -> Console:
    """A console on standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True, width=None if sys.stderr.isatty() else PIPE_WIDTH)


def print_json(data: Any) -> None:
    """`data` as indented JSON."""
    sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """A table; where there are no rows, `empty` says what to do about it, on standard error.

    A column whose name begins with `#` holds numbers: it is aligned to the right. No cell is cut or folded, so that
    lines stay lines for whoever searches them; a narrow terminal wraps them.
    """
    lines = [[plain(cell) for cell in row] for row in rows]
    if not lines:
        stderr().print(empty, markup=False)
        return
    names = [name.removeprefix("#").upper() for name in columns]
    widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
    aligns = [str.rjust if name.startswith("#") else str.ljust for name in columns]
    console = stdout()
    for line in (names, *lines):
        cells = (align(cell, width) for align, cell, width in zip(aligns, line, widths, strict=True))
        console.print("  ".join(cells).rstrip(), markup=False, style="bold" if line is names else None)


def plain(cell: object) -> str:
    """A cell's text on one line; a dash for nothing."""
    return "-" if cell is None or cell == "" else " ".join(str(cell).split())


def gigabytes(count: float | None) -> str | None:
    """A size in GB."""
    return None if count is None else f"{count:.2f} GB"


def count(number: float | None) -> str | None:
    """A number of parameters as people write it: 124M, 1.5B."""
    if number is None:
        return None
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.0f}"
