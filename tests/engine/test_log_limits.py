"""Logs stay within their sizes and age while workers write to them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from modelyard.engine.log_limits import LogLimits, apply_limits
from modelyard.engine.logs import read_end, read_logs
from modelyard.worker.processes import open_log

FOLDER = "acc_1/org--name"
NO_LIMIT = LogLimits(2**40, 2**40, 1e12)
NOW = 1_000_000.0


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def write_log(logs: Path, name: str, text: str, *, written_at: float = NOW) -> Path:
    """The log of a replica that has ended."""
    path = logs / FOLDER / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (written_at, written_at))
    return path


def names(logs: Path) -> list[str]:
    return sorted(path.name for path in (logs / FOLDER).iterdir())


def test_a_log_that_is_written_to_is_cut_and_its_writer_goes_on_at_the_new_end(logs: Path) -> None:
    path = logs / FOLDER / "live.log"
    writer = open_log(str(path))
    for number in range(100):
        os.write(writer, f"line {number:5}\n".encode())

    apply_limits(logs, LogLimits(1000, 2**40, 1e12), NOW)
    os.write(writer, b"the next line\n")

    assert path.read_text() == "the next line\n"
    assert read_end(path, 50).splitlines()[-3:] == ["line    98", "line    99", "the next line"]
    assert sum(each.stat().st_size for each in (logs / FOLDER).iterdir()) <= 1000
    for number in range(100, 200):
        os.write(writer, f"line {number:5}\n".encode())
    apply_limits(logs, LogLimits(1000, 2**40, 1e12), NOW)
    assert "line   199" in read_end(path, 20)
    assert [each.name for each in read_logs(logs / FOLDER, 5)] == ["live"]
    os.close(writer)


def test_logs_within_the_limits_stay_as_they_are(logs: Path) -> None:
    write_log(logs, "a", "x" * 100)
    apply_limits(logs, NO_LIMIT, NOW)
    assert names(logs) == ["a.log"]
    assert read_end(logs / FOLDER / "a.log", 10) == "x" * 10


def test_old_logs_go_unless_somebody_writes_to_them(logs: Path) -> None:
    write_log(logs, "old", "x", written_at=NOW - 100)
    (logs / FOLDER / "old.log.1").write_text("y")
    write_log(logs, "new", "x", written_at=NOW - 5)
    writer = open_log(str(logs / FOLDER / "live.log"))
    os.utime(logs / FOLDER / "live.log", (NOW - 100, NOW - 100))

    limits = LogLimits(2**40, 2**40, 50)
    apply_limits(logs, limits, NOW)
    assert names(logs) == ["live.log", "new.log"]

    os.close(writer)
    apply_limits(logs, limits, NOW)
    assert names(logs) == ["new.log"]


def test_beyond_the_size_of_all_the_oldest_goes(logs: Path) -> None:
    for number in range(5):
        write_log(logs, str(number), "x" * 100, written_at=NOW - 10 + number)
    apply_limits(logs, LogLimits(2**40, 250, 1e12), NOW)
    assert names(logs) == ["3.log", "4.log"]


def test_a_folder_that_is_not_there_has_nothing_to_cut(logs: Path) -> None:
    apply_limits(logs, NO_LIMIT, NOW)
