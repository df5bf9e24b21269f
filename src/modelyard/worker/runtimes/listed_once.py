"""Has the model library list the modules of its models once, not twice, when it is imported: each time it reads 3,300
files, which takes a quarter of a second. Imported for its side effect, before `transformers.models`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import transformers
from transformers.utils import import_utils

if "transformers.models" not in sys.modules:
    define = import_utils.define_import_structure
    listed = define(Path(transformers.__file__).parent / "models", prefix="models")  # which the library has kept
    below = {
        needs: {name.removeprefix("models."): classes[name] for name in classes} for needs, classes in listed.items()
    }
    import_utils.define_import_structure = lambda *_: below
    try:
        importlib.import_module("transformers.models")
    finally:
        import_utils.define_import_structure = define
