"""What the installed transformers can build by itself, read from its source text: importing it costs seconds and is
forbidden here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

_MODEL_TYPE = re.compile(r'"([a-z0-9_.-]+)": ?"\w+Config"|\("([a-z0-9_.-]+)", "\w+Config"\)', re.IGNORECASE)
_TABLES = ("auto_mappings.py", "configuration_auto.py")
_READERS = re.compile(r'\(\s*"([a-z0-9_.-]+)",\s*\{([^}]*)\},?\s*\)', re.IGNORECASE)
_READER = re.compile(r'"(\w+)": "(\w+)"')
_CLASS = re.compile(r'^ +\("([a-z0-9_.-]+)", \(?"(\w+)"', re.IGNORECASE | re.MULTILINE)


@cache
def native_model_types() -> frozenset[str]:
    """Every `model_type` that needs no code from the model's repository; empty when transformers is not installed
    here (workers may run elsewhere), which callers take as "unknown"."""
    texts = [_read_table(name) for name in _TABLES]
    return frozenset(first or second for text in texts for first, second in _MODEL_TYPE.findall(text))


@cache
def classes_of(table: str) -> Mapping[str, str]:
    """`model_type` → the first class that the library's own table has for it; "" is the table of models without a
    head, others are called as in "MASKED_LM". Empty when transformers is not installed here."""
    name = f"MODEL_FOR_{table}_MAPPING_NAMES" if table else "MODEL_MAPPING_NAMES"
    _, _, rest = _read_table("modeling_auto.py").partition(f"\n{name} = ")
    return dict(_CLASS.findall(rest.partition("\n)")[0]))


@cache
def image_readers() -> Mapping[str, Mapping[str, str]]:
    """`model_type` → what turns images into a model's inputs: what that is written with ("pil", "torchvision") → its
    class. Empty when transformers is not installed here."""
    _, _, rest = _read_table("auto_mappings.py").partition("\nIMAGE_PROCESSOR_MAPPING_NAMES = ")
    tables = rest.partition("\n)")[0] + _read_table("image_processing_auto.py")
    return {kind: dict(_READER.findall(classes)) for kind, classes in _READERS.findall(tables)}


def _read_table(name: str) -> str:
    """The source of one of the library's tables; empty when it is not installed here."""
    spec = find_spec("transformers")
    if spec is None or not spec.submodule_search_locations:
        return ""
    path = Path(spec.submodule_search_locations[0]) / "models" / "auto" / name
    return path.read_text("utf-8") if path.is_file() else ""


def transformers_version() -> str:
    """As installed, for messages."""
    try:
        return version("transformers")
    except PackageNotFoundError:
        return "(not installed)"


def is_installed(name: str) -> bool:
    """Whether that package is here; it is not imported."""
    return find_spec(name) is not None


def how_to_install(extra: str) -> str:
    """What to do where an optional part is missing: a clause. `extra`: its name among the package's extras."""
    return f"run `pip install 'modelyard[{extra}]'` where the server is installed and start it again"


def has_openvino() -> bool:
    """Whether variants can be held by OpenVINO."""
    return is_installed("openvino")


NO_OPENVINO = f"OpenVINO, which is not installed here; {how_to_install('openvino')}"
"""What a variant lacks where that is not so: the end of a clause."""


def is_newer(other: object) -> bool:
    """Whether `other`, a version as configs name the one that saved them, comes after the installed one."""
    return _numbers(str(other)) > _numbers(transformers_version()) if other else False


def _numbers(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)[:3]]
