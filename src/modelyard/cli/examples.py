"""Where the small models that come with Modelyard are, and when they are served. Owns nothing else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import modelyard
from modelyard.config import Settings
from modelyard.errors import NotFound

STORIES = "modelyard/tiny-stories"
CHAT = "modelyard/tiny-chat"
REVIEWS = "modelyard/tiny-reviews"


def example_models_dir() -> Path:
    """The shipped models folder: inside the installed package, else of the checkout. Raises NotFound."""
    package = Path(modelyard.__file__).resolve().parent
    candidates = (package / "examples", package.parents[1] / "examples" / "models")
    for path in candidates:
        if path.is_dir():
            return path
    raise NotFound(
        f"The example models are not there; looked in {' and '.join(map(str, candidates))}. "
        "In a checkout, `python examples/train.py` makes them."
    )


def with_examples(settings: Settings, *, required: bool = False) -> Settings:
    """The settings with the shipped models among the models folders: when `required`, or when no folder is named,
    so that there is something to run at once. Raises NotFound when they are required and not there."""
    if settings.models_dir and not required:
        return settings
    try:
        return dataclasses.replace(settings, models_dir=(*settings.models_dir, example_models_dir()))
    except NotFound:
        if required:
            raise
        return settings
