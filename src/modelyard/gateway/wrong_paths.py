"""What is said to a request at a path, or with a method, that is none of ours. Pure."""

from __future__ import annotations

from collections.abc import Collection

OPENAI_ROOT = "/v1"
MODELS = "/models/v2/"
NEARLY_MODELS = ("/models/", "/v2/")
"""Where models are looked for by who has left out a part of it."""


def describe_nothing(path: str, paths: Collection[str]) -> str:
    """That there is nothing at `path`, and what was probably meant. `paths`: those that there are and name no model."""
    # What is left out of a client's base URL, or in it twice.
    moved = (f"{OPENAI_ROOT}{path}", path.removeprefix(OPENAI_ROOT), f"/models{path}")
    meant = next((each for each in moved if each in paths), None)
    if meant is not None:
        return f"There is nothing at {path}. Did you mean {meant}?"
    if path.startswith(NEARLY_MODELS):
        return f"There is nothing at {path}: a model is at {MODELS}org/name, both parts of its name."
    return f"There is nothing at {path}. See /docs for what there is."
