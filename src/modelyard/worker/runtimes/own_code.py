"""Where the libraries copy a model's own code before they import it: into the worker's own folder."""

from __future__ import annotations

import os
import sys
from importlib import import_module

COPIERS = {"transformers": "transformers.dynamic_module_utils", "diffusers": "diffusers.utils.dynamic_modules_utils"}


def copy_code_to_own_folder() -> None:
    """Lets the libraries copy to HF_HOME as it is now; they read it when they were imported, before it was set."""
    home = os.environ.get("HF_HOME")
    if home is None:
        return
    for library, name in COPIERS.items():
        if library in sys.modules:
            import_module(name).__dict__["HF_MODULES_CACHE"] = os.path.join(home, "modules")
