"""Where the small models that come with Modelyard are. Owns nothing else."""

from __future__ import annotations

from pathlib import Path

import modelyard
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
