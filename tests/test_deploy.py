"""The files in deploy/: they can be read, and name settings and files that there are."""

from __future__ import annotations

import dataclasses
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.config import Settings, variable

DEPLOY = Path(__file__).parents[1] / "deploy"
SETTINGS = {variable(each.name) for each in dataclasses.fields(Settings)}


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_can_be_read_and_run(path: Path) -> None:
    assert path.stat().st_mode & 0o100
    subprocess.run(["sh", "-n", path], check=True)


@pytest.mark.parametrize("name", ["node.sh", "server.sh"])
def test_a_script_without_its_words_says_which_it_wants(name: str) -> None:
    done = subprocess.run([DEPLOY / "by-hand" / name], capture_output=True, text=True)
    assert done.returncode != 0
    assert f"{name} HEAD:6379" in done.stderr


@pytest.mark.parametrize("path", sorted((DEPLOY / "kuberay").rglob("*.yaml")), ids=lambda path: path.name)
def test_a_description_can_be_read(path: Path) -> None:
    for described in yaml.safe_load_all(path.read_text(encoding="utf-8")):
        assert {"apiVersion", "kind", "metadata", "spec"} <= set(described)


def each_value(described: Any, key: str) -> Iterator[Any]:
    """What is under that key, at whatever depth."""
    children = described.values() if isinstance(described, dict) else described if isinstance(described, list) else ()
    if isinstance(described, dict) and key in described:
        yield described[key]
    for child in children:
        yield from each_value(child, key)


def test_what_pods_take_from_the_secret_is_made_by_the_command_beside_them() -> None:
    servers = (DEPLOY / "kuberay" / "servers.yaml").read_text(encoding="utf-8")
    cluster = (DEPLOY / "kuberay" / "cluster.yaml").read_text(encoding="utf-8")
    described = [*yaml.safe_load_all(servers), *yaml.safe_load_all(cluster)]

    made = set(re.findall(r"--from-literal=([\w-]+)=", servers))

    assert {each["key"] for each in each_value(described, "secretKeyRef")} == made
    assert "ray-token" in made


def test_every_container_of_the_ray_cluster_shows_the_token() -> None:
    for path in (DEPLOY / "kuberay").glob("*.yaml"):
        described = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        for container in (each for containers in each_value(described, "containers") for each in containers):
            assert {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN"} <= {each["name"] for each in container["env"]}, path


def test_only_settings_that_there_are_are_named() -> None:
    for path in (each for each in DEPLOY.rglob("*") if each.is_file()):
        assert set(re.findall(r"MODELYARD_[A-Z_]+", path.read_text(encoding="utf-8"))) <= SETTINGS, path
