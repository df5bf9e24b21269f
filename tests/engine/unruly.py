"""Model folders whose own code (`remote_code`) runs while they load: what a model can do to a real worker."""

from __future__ import annotations

import json
from pathlib import Path


def build_unruly(folder: Path, code: str) -> Path:
    """A folder whose configuration class runs `code` when it is imported, in the worker."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(
        json.dumps({"model_type": folder.name, "auto_map": {"AutoConfig": "configuration_unruly.UnrulyConfig"}})
    )
    (folder / "configuration_unruly.py").write_text(
        f"from transformers import PretrainedConfig\n{code}\nclass UnrulyConfig(PretrainedConfig):\n    pass\n"
    )
    return folder
