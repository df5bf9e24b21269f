"""Tiny models once made, kept in pytest's cache: the next run, or the process beside this one, copies them."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path

from filelock import FileLock

SOURCES = Path(__file__).parent
KEPT = SOURCES.parents[1] / ".pytest_cache" / "d" / "tiny-models"
"""Where `pytest --cache-clear` finds it."""
LIBRARIES = ("diffusers", "numpy", "tokenizers", "torch", "transformers")


def build(family: str, folder: Path) -> Path:
    """Puts the model of `family` into `folder`, which is returned."""
    kept = KEPT / fingerprint() / family
    if not kept.is_dir():
        keep(kept, lambda made: make_tiny(family, made))
    return Path(shutil.copytree(kept, folder, dirs_exist_ok=True))


def make_tiny(family: str, folder: Path) -> None:
    """Makes the model of `family`. What makes models imports the model libraries: not before one is needed."""
    from tests.builders.registry import make

    make(family, folder)


def keep(kept: Path, make: Callable[[Path], None]) -> None:
    """Makes the model beside its place and moves it there whole. Another process that wants it too waits meanwhile."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{kept}.lock"), tempfile.TemporaryDirectory(dir=kept.parent) as beside:
        if not kept.is_dir():  # else the other process was first
            made = Path(beside) / kept.name
            make(made)
            made.rename(kept)


@cache
def fingerprint() -> str:
    """What the models are made of: these modules, the libraries' versions, Python's."""
    digest = hashlib.sha256(sys.version.encode())
    for library in LIBRARIES:
        digest.update(f"{library} {version(library)}\n".encode())
    for source in sorted(SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
