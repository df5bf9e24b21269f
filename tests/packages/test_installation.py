"""What the README's first commands do on a fresh clone, and what `pip install modelyard` does where there is none."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packages.environment import ROOT, Environment, pinned

INSTALL = pytest.mark.verify(part="install")
BUILD = "build==1.6.1"
STEPS = ("Making ", "Installing ")
OWN = ("PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")
NEEDED_BY_SOURCES = ("constraints.txt", "pyproject.toml", "docs/glossary.md", "deploy/README.md", "tests/conftest.py")
"""Of a release's sources: what has them built, tested and read."""


@INSTALL
def test_a_fresh_clone_installs_itself_and_shows_the_demo(tmp_path: Path) -> None:
    clone = tmp_path / "modelyard"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    setup = make(clone, "setup")
    assert (setup.returncode, setup.stderr) == (0, ""), setup.stdout
    assert [line for line in setup.stdout.splitlines() if not line.startswith(STEPS)] == []
    assert (clone / ".venv" / ".installed").is_file()
    done = make(clone, "demo")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def make(clone: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What make says in a clone, without this checkout's own environment, nor that of a make that runs the tests: it
    would tell of its folders. `environ`: what it is told besides."""
    kept = {name: value for name, value in os.environ.items() if name not in OWN}
    return subprocess.run(
        ["make", *words], cwd=clone, env={**kept, **environ}, capture_output=True, text=True, check=False
    )


@INSTALL
def test_a_step_of_the_setup_that_fails_says_why_and_ends_it(tmp_path: Path) -> None:
    """Its index is nowhere."""
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("Makefile", "constraints.txt", "pyproject.toml", "tests"):
        (copy / name).symlink_to(ROOT / name)
    nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    done = make(copy, "setup", **nowhere, PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="", PIP_NO_CACHE_DIR="1")
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1] == "Installing torch"
    assert "torch" in done.stderr
    assert "ERROR" in done.stderr
    assert not (copy / ".venv" / ".installed").exists()


@dataclass(frozen=True)
class Built:
    """What a release consists of."""

    wheel: Path
    sources: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The sources are packed, and the wheel is built of those, in a copy of what git knows here."""
    folder = tmp_path_factory.mktemp("built")
    clone, release = folder / "clone", folder / "release"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environment = Environment(folder / "environment")
    environment.install(BUILD)
    done = environment.run("python", "-m", "build", "--outdir", release, clone)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,), (sources,) = release.glob("*.whl"), release.glob("*.tar.gz")
    return Built(wheel, sources)


def tracked(folder: str) -> set[str]:
    """The files that git knows below a folder of the checkout, with it."""
    done = subprocess.run(["git", "ls-files", folder], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split("\n")) - {""}


@INSTALL
def test_a_wheel_has_every_file_of_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        about = {name.partition("/")[2] for name in wheel.namelist()} - names
    package = {name.removeprefix("src/") for name in tracked("src/modelyard")}
    examples = {name.replace("examples/models", "modelyard/examples", 1) for name in tracked("examples/models")}
    assert names == package | examples
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= about


@INSTALL
def test_sources_have_what_builds_and_tests_them(built: Built) -> None:
    with tarfile.open(built.sources) as sources:
        names = {each.name.partition("/")[2] for each in sources if each.isfile()}
    assert names - {"PKG-INFO"} <= tracked(".")
    assert tracked("src/modelyard") | tracked("examples/models") | set(NEEDED_BY_SOURCES) <= names


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel alone in an environment, without any of its optional parts."""
    environment = Environment(tmp_path_factory.mktemp("clean"))
    environment.install(pinned("torch"))
    environment.install("--constraint", ROOT / "constraints.txt", built.wheel)
    return environment


@INSTALL
def test_the_wheel_shows_the_demo_in_a_clean_environment(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("modelyard", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "Done" in done.stdout
    assert list(tmp_path.iterdir()) == []


@INSTALL
def test_what_replicas_without_torch_are_forked_from_needs_no_optional_part(installed: Environment) -> None:
    program = "import modelyard.worker.nursery, modelyard.worker.runtimes.preload_without_torch"
    done = installed.run("python", "-c", program)
    assert done.returncode == 0, done.stderr[-2000:]


@INSTALL
def test_doctor_names_the_optional_parts_that_are_not_there(installed: Environment, tmp_path: Path) -> None:
    done = installed.run("modelyard", "doctor", "--json", "--no-hub", "--data-dir", tmp_path)
    (found,) = [each for each in json.loads(done.stdout) if each["check"] == "extras"]
    assert (found["level"], found["fix"]) == ("OK", "pip install 'modelyard[all]', or the one you need")
    for extra in ("gguf", "providers", "ray", "vision"):
        assert extra in found["found"]


@INSTALL
@pytest.mark.parametrize("pins", [(), ("--constraint", ROOT / "constraints.txt")], ids=["as it is", "with our pins"])
def test_the_part_for_models_that_see_brings_no_other_torch(
    built: Built, installed: Environment, tmp_path: Path, pins: tuple[str | Path, ...]
) -> None:
    report = tmp_path / "report.json"
    installed.install("--dry-run", "--report", report, *pins, f"modelyard[vision] @ {built.wheel.as_uri()}")
    brought = {each["metadata"]["name"].lower() for each in json.loads(report.read_text())["install"]}
    assert brought - {"modelyard"} == {"torchvision", "timm"}
