"""Virtual environments of tests' own, into which something is installed from the configured index."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")


class Environment:
    """A new one in `folder`, with nothing in it but pip."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)

    def install(self, *words: str | Path) -> None:
        """What pip is given. Fails with what pip says."""
        done = self.run("python", *PIP, *words)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    def run(self, program: str, *words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """One of its programs, to its end, without the settings of this checkout and this machine's server."""
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("PYTHONPATH", "VIRTUAL_ENV") and not name.startswith("MODELYARD_")
        }
        return subprocess.run(
            [self.programs / program, *words], cwd=cwd, env=environ, capture_output=True, text=True, check=False
        )


def pinned(name: str) -> str:
    """A package at the version of constraints.txt, as pip takes it."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith(f"{name}=="))
