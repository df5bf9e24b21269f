"""Traces from CSV files; docs/reference/simulation.md has the columns. Owns the checks and their words."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from modelyard.errors import InvalidRequest
from modelyard.simulation.traces import ACCOUNTS, Trace, TracedModel, in_order
from modelyard.units import GIB

NEEDED = ("at_s", "model", "duration_s")
OPTIONAL = ("memory_gb", "account")
USUAL_MEMORY_GB = 1.0
MOST_S = 366 * 86_400.0


def read_trace(path: Path) -> Trace:
    """The trace in a file. Raises InvalidRequest, which names the line and what is wrong with it."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return read_rows(path.name, csv.DictReader(file))
    except OSError as error:
        raise InvalidRequest(f"trace: {path} cannot be read: {error.strerror or error}.", field="trace") from error
    except UnicodeDecodeError as error:
        words = f"trace: {path} is not text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}."
        raise InvalidRequest(words, field="trace") from error
    except csv.Error as error:
        raise InvalidRequest(f"trace: {path} is no CSV file: {error}.", field="trace") from error


def read_rows(name: str, rows: csv.DictReader[str]) -> Trace:
    """The trace in rows. Raises InvalidRequest."""
    check_columns(list(rows.fieldnames or ()))
    numbers: dict[str, int] = {}
    models: list[TracedModel] = []
    at_s, of_model, duration_s = [], [], []
    for row in rows:
        line = rows.line_num
        model_id = text_of(row, "model", line)
        memory_gb = number_of(row, "memory_gb", line, USUAL_MEMORY_GB, least=0.001, most=1e6)
        number = numbers.setdefault(model_id, len(models))
        account = row.get("account") or f"account-{number % ACCOUNTS}"
        if number == len(models):
            models.append(TracedModel(model_id, account, int(memory_gb * GIB)))
        elif row.get("memory_gb") and models[number].memory_bytes != int(memory_gb * GIB):
            known = f"{models[number].memory_bytes / GIB:g}, as in the model's first line"
            raise wrong("memory_gb", line, row["memory_gb"], known)
        elif row.get("account") and models[number].account != account:
            raise wrong("account", line, account, f"{models[number].account}, as in the model's first line")
        at_s.append(number_of(row, "at_s", line, None, least=0.0, most=MOST_S))
        of_model.append(number)
        duration_s.append(number_of(row, "duration_s", line, None, least=0.0, most=MOST_S))
    span_s = max(at_s, default=0.0)
    return in_order(name, models, np.array(at_s), np.array(of_model, dtype=np.int64), np.array(duration_s), span_s)


def check_columns(names: list[str]) -> None:
    """Raises InvalidRequest when the first line does not name the columns."""
    accepted = f"{', '.join(NEEDED)}, and where they are known {' and '.join(OPTIONAL)}"
    if not set(NEEDED) <= set(names) or not set(names) <= {*NEEDED, *OPTIONAL} or len(set(names)) < len(names):
        raise wrong("columns", 1, ", ".join(names) or "nothing", accepted)


def text_of(row: Mapping[str, str | None], column: str, line: int) -> str:
    """A cell that holds something."""
    if not (value := (row.get(column) or "").strip()):
        raise wrong(column, line, row.get(column) or "nothing", "a name")
    return value


def number_of(
    row: Mapping[str, str | None], column: str, line: int, usual: float | None, *, least: float, most: float
) -> float:
    """A cell's number; `usual` where it holds nothing, if there is such a number."""
    given = row.get(column)
    if usual is not None and not given:
        return usual
    try:
        value = float(given or "")
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise wrong(column, line, given or "nothing", f"a number from {least:g} to {most:g}")
    return value


def wrong(column: str, line: int, got: object, accepted: str) -> InvalidRequest:
    """The error of a line."""
    return InvalidRequest(f"{column}, line {line}: got {got}; accepted: {accepted}", field=column)
