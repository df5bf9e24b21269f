"""The real console script in a process of its own, with nothing of this machine's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.command import run_command
from tests.serving import free_port

SCRIPT = Path(sys.executable).with_name("modelyard")
"""What `make setup` installs."""
DEADLINE_S = 150.0


@dataclass(frozen=True)
class Terminal:
    """Runs commands with one environment."""

    environ: Mapping[str, str]

    def start(self, *words: str, **how: Any) -> subprocess.Popen[str]:
        """A command under way; both of its outputs are pipes."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        return subprocess.Popen([SCRIPT, *words], env=dict(self.environ), text=True, **pipes)

    def run(self, *words: str, typed: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """A command's end. `typed`: its standard input."""
        return subprocess.run(
            [SCRIPT, *words],
            env={**self.environ, **environ},
            input=typed,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def ok(self, *words: str, typed: str = "", **environ: str) -> str:
        """The standard output of a command that must succeed."""
        done = self.run(*words, typed=typed, **environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def problem(self, *words: str, **environ: str) -> str:
        """The standard error of a command that must fail with a sentence, and print nothing else."""
        done = self.run(*words, **environ)
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        assert done.stdout == ""
        assert done.stderr.startswith("error: "), done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr


class Inside(Terminal):
    """The same in this process: quick, for what does not depend on being one's own process."""

    def run(self, *words: str, typed: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        return run_command(words, typed, {**self.environ, **environ})


def clean_environ(home: Path, **more: str) -> dict[str, str]:
    """This process's environment without settings, and with another home."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MODELYARD_", "HF_", "XDG_DATA", "XDG_CACHE")) and name not in ("PORT", "DEVICE")
    }
    return {**kept, "HOME": str(home), "COLUMNS": "200", "OMP_WAIT_POLICY": "PASSIVE", **more}


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal for commands that need no server: none is where they look by themselves."""
    return Terminal(clean_environ(tmp_path, MODELYARD_HUB="off", MODELYARD_PORT=str(free_port())))


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """As `terminal`, without the process."""
    environ = clean_environ(tmp_path, MODELYARD_HUB="off")
    for name in os.environ.keys() - environ.keys():
        monkeypatch.delenv(name)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return Inside(environ)
