"""The files in deploy/: they can be read, and name settings and files that there are."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from modelyard.config import Settings, variable

DEPLOY = Path(__file__).parents[1] / "deploy"
SETTINGS = {variable(each.name) for each in dataclasses.fields(Settings)}


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_can_be_read_and_run(path: Path) -> None:
    assert path.stat().st_mode & 0o100
    subprocess.run(["sh", "-n", path], check=True)


@pytest.mark.parametrize("path", sorted((DEPLOY / "kuberay").rglob("*.yaml")), ids=lambda path: path.name)
def test_a_description_can_be_read(path: Path) -> None:
    for described in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        assert {"apiVersion", "kind", "metadata", "spec"} <= set(described)


def test_only_settings_that_there_are_are_named() -> None:
    for path in (each for each in DEPLOY.rglob("*") if each.is_file()):
        assert set(re.findall(r"MODELYARD_[A-Z_]+", path.read_text(encoding="utf-8"))) <= SETTINGS, path
