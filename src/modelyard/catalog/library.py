"""What the installed transformers can build by itself, read from its source text: importing it costs seconds and is
forbidden here."""

from __future__ import annotations

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_MODEL_TYPE = re.compile(r'"([a-z0-9_.-]+)": ?"\w+Config"|\("([a-z0-9_.-]+)", "\w+Config"\)', re.IGNORECASE)
_TABLES = ("auto_mappings.py", "configuration_auto.py")


@cache
def native_model_types() -> frozenset[str]:
    """Every `model_type` that needs no code from the model's repository; empty when transformers is not installed
    here (workers may run elsewhere), which callers take as "unknown"."""
    spec = find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return frozenset()
    auto = Path(spec.submodule_search_locations[0]) / "models" / "auto"
    texts = [path.read_text("utf-8") for name in _TABLES if (path := auto / name).is_file()]
    return frozenset(first or second for text in texts for first, second in _MODEL_TYPE.findall(text))


def transformers_version() -> str:
    """As installed, for messages."""
    try:
        return version("transformers")
    except PackageNotFoundError:
        return "(not installed)"


def is_installed(name: str) -> bool:
    """Whether that package is here; it is not imported."""
    return find_spec(name) is not None


def is_newer(other: object) -> bool:
    """Whether `other`, a version as configs name the one that saved them, comes after the installed one."""
    return _numbers(str(other)) > _numbers(transformers_version()) if other else False


def _numbers(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)[:3]]
