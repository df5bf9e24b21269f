"""The README's first commands on a fresh clone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.verify(part="install")
def test_a_fresh_clone_installs_itself_and_shows_the_demo(tmp_path: Path) -> None:
    clone = tmp_path / "modelyard"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(["make", "demo"], cwd=clone, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (clone / ".venv" / ".installed").is_file()
