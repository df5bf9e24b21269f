"""What `doctor` says of a machine that lacks something, and what to do."""

from __future__ import annotations

import resource
import shutil
from collections import namedtuple
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from modelyard.cli import machine_checks
from modelyard.cli.doctor import check_disk
from modelyard.cli.findings import Finding, Level
from modelyard.cli.machine_checks import (
    check_clock,
    check_memory,
    check_open_files,
    check_processes,
    check_shared_memory,
    check_temporary,
)
from modelyard.config import Settings, load_settings
from modelyard.units import GIB

Disk = namedtuple("Disk", "total used free")


def settings(**more: Any) -> Settings:
    return load_settings(more, {}).settings


def warned(finding: Finding) -> tuple[str, str]:
    """What was found and what to do, of a check that warns."""
    assert finding.level is Level.WARN
    assert finding.fix is not None
    return finding.found, finding.fix


def test_a_clock_that_follows_no_other_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "is_unsynchronised", lambda: True)
    found, fix = warned(check_clock(settings()))
    assert "follows no other clock" in found
    assert "chrony" in fix


def test_a_clock_before_this_release_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "RELEASED", datetime(9999, 1, 1, tzinfo=UTC))
    assert check_clock(settings()).level is Level.FAIL


def test_the_system_can_be_asked_for_its_clock() -> None:
    assert machine_checks.is_unsynchronised() in (True, False)


@pytest.mark.parametrize(("most", "wanted", "level"), [(1000, 0, "WARN"), (5000, 0, "OK"), (5000, 9000, "WARN")])
def test_open_files_are_enough_for_connections(
    monkeypatch: pytest.MonkeyPatch, most: int, wanted: int, level: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (most, most))
    finding = check_open_files(settings(max_connections=wanted))
    assert finding.level == level
    assert finding.fix is None or "LimitNOFILE=" in finding.fix


@pytest.mark.parametrize(("limit", "level"), [(None, "OK"), (500, "WARN"), (9000, "OK")])
def test_processes_of_a_control_group_are_counted(
    monkeypatch: pytest.MonkeyPatch, limit: int | None, level: str
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY,) * 2)
    monkeypatch.setattr(machine_checks, "find_limit", {"pids": limit}.get)
    finding = check_processes(settings())
    assert finding.level == level
    assert finding.fix is None or "TasksMax=" in finding.fix


def test_a_budget_that_is_not_there_is_told() -> None:
    found, fix = warned(check_memory(settings(memory_gb=1e6)))
    assert "are there at this moment" in found
    assert "--memory-gb" in fix


def test_a_small_budget_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_checks, "find_limit", {"memory": 2**30}.get)
    found, fix = warned(check_memory(settings(memory_gb=0.5)))
    assert "small models only" in found
    assert "container" in fix


Check = Callable[[Settings], Finding]


@pytest.mark.parametrize(
    ("check", "engine", "fix"), [(check_temporary, "local", "TMPDIR"), (check_shared_memory, "ray", "--shm-size")]
)
def test_small_disks_are_told(monkeypatch: pytest.MonkeyPatch, check: Check, engine: str, fix: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: Disk(2**20, 0, 2**20))
    assert fix in warned(check(settings(engine=engine)))[1]


def test_shared_memory_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(machine_checks, "SHARED_MEMORY", tmp_path / "none")
    assert "0 MB" in warned(check_shared_memory(settings(engine="ray")))[0]
    assert check_shared_memory(settings()).level is Level.OK


def test_room_for_models_is_told_in_the_unit_of_other_rooms(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(0, 0, 5 * GIB))
    found, fix = warned(check_disk(settings(data_dir=tmp_path)))
    assert found.startswith("5.0 GB free at ")
    assert "HF_HOME" in fix
