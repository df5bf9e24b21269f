"""The unit of systemd, as systemd itself reads it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from modelyard.cli.serve import STOP_S
from modelyard.config import load_settings
from tests.packages.environment import ROOT

UNIT = ROOT / "deploy" / "systemd" / "modelyard.service"
MOST_EXPOSED = 20
"""Tenths, of 100: what `systemd-analyze security` calls a service's exposure."""


def read(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, delimiters="=", strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text(encoding="utf-8"))
    return unit


def test_settings_of_the_unit_are_valid_and_its_folders_are_those_that_it_has() -> None:
    service = read(UNIT)["Service"]
    environ = dict(each.split("=", 1) for each in service["Environment"].split())
    settings = load_settings({}, environ).settings
    assert str(settings.data_dir) == f"/var/lib/{service['StateDirectory']}"
    assert environ["HF_HOME"] == f"/var/cache/{service['CacheDirectory']}"
    assert environ["XDG_RUNTIME_DIR"] == f"/run/{service['RuntimeDirectory']}"


def test_the_server_has_the_time_that_it_takes_to_stop() -> None:
    assert float(read(UNIT)["Service"]["TimeoutStopSec"]) > STOP_S


def test_what_is_taken_back_for_gpus_is_what_was_taken_away() -> None:
    assert read(UNIT.with_name("gpu.conf"))["Service"].keys() <= read(UNIT)["Service"].keys()


@pytest.fixture
def analyze() -> str:
    """The program of systemd. Fails with the command that installs it."""
    found = shutil.which("systemd-analyze")
    assert found is not None, "systemd-analyze is not here: apt-get install systemd"
    return found


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is here."""
    text = UNIT.read_text(encoding="utf-8")
    program = Path(sys.executable).with_name("modelyard")
    assert program.is_file()
    path = tmp_path / UNIT.name
    path.write_text(text.replace("/opt/modelyard/bin/modelyard", str(program)), encoding="utf-8")
    return path


@pytest.mark.verify(part="install")
def test_systemd_understands_every_line(analyze: str, unit: Path) -> None:
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    about_ours = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about_ours) == (0, [])


@pytest.mark.verify(part="install")
def test_the_unit_is_hardly_exposed(analyze: str, unit: Path) -> None:
    words = ["security", "--offline=yes", f"--threshold={MOST_EXPOSED}", "--no-pager", unit]
    done = subprocess.run([analyze, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, re.findall(r"Overall exposure.*", done.stdout) + done.stderr.splitlines()
